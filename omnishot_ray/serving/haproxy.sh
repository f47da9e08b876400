#!/bin/sh
# HAPROXY_BINARY with what Ray's template of its configuration has no setting for. Ray writes the
# file after -f before each start.
# - Ten seconds for the header of a request, so that who sends it a byte at a time does not keep a
#   connection. The template has the option, and nothing that sets it.
# - A problem document where a gateway is gone; Serve's is a text with 500. What comes before there is
#   a request that can be sent on (400 and 408) HAProxy 2.8 takes from no file.
errors=$(dirname "$0" | sed 's/[&|\\]/\\&/g')/haproxy_errors
own="timeout http-request 10s"
for error in 502:engine-unavailable 503:engine-unavailable 504:timeout; do
    own="$own\n    errorfile ${error%:*} \"$errors/${error#*:}.http\""
done
for argument; do
    if [ "$before" = -f ]; then
        sed -i \
            -e '/^ *errorfile 50[234] /d' \
            -e "0,/timeout client [0-9]*s/s|timeout client [0-9]*s|&\n    $own|" \
            "$argument"
    fi
    before=$argument
done
exec "$HAPROXY_BINARY" "$@"
