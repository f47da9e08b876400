#!/bin/sh
# HAPROXY_BINARY with ten seconds for the header of a request, so that who sends it a byte at a time
# does not keep a connection. Ray writes the file after -f before each start; its template has the
# option, but no setting for it.
for argument; do
    if [ "$before" = -f ]; then
        sed -i '0,/timeout client [0-9]*s/s//&\n    timeout http-request 10s/' "$argument"
    fi
    before=$argument
done
exec "$HAPROXY_BINARY" "$@"
