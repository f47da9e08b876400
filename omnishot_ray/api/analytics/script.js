/* OmniShot Ray: web vitals, events and funnel steps. See docs/analytics.md */
// <script src="https://HOST/analytics.js" data-sample="1" data-segment="" defer></script>
// omnishot.event(type, data), omnishot.step(step, more), omnishot.alert(name, more)
(function (w, d) {
  'use strict';
  var script = d.currentScript, set = script ? script.dataset : {};
  var base = script ? script.src.replace(/\/[^/]*$/, '') : '';
  var nav = performance.getEntriesByType('navigation')[0] || {};
  var vitals = {}, sent = {}, events = [], id = session(), timer;
  var on = parseInt(id.slice(0, 8), 16) / 4294967296 < (set.sample === undefined ? 1 : +set.sample);

  function session() {
    var key = 'omnishot-session', found;
    try { found = sessionStorage.getItem(key); } catch (e) { /* storage is off */ }
    if (!/^[0-9a-f]{32}$/.test(found)) {
      found = Array.from(crypto.getRandomValues(new Uint8Array(16)), function (b) {
        return (b + 256).toString(16).slice(1);
      }).join('');
      try { sessionStorage.setItem(key, found); } catch (e) { /* one page view long */ }
    }
    return found;
  }

  function post(path, body) {
    // Text needs no preflight from other origins, and a page that is left has no time for one.
    var url = base + '/api/analytics/' + path, text = JSON.stringify(body);
    if (!on) return;
    if (!(navigator.sendBeacon && navigator.sendBeacon(url, text)) && w.fetch) {
      fetch(url, { method: 'POST', body: text, keepalive: true, mode: 'no-cors' })
        .catch(function () {});
    }
  }

  function about(more) {
    return Object.assign({ session_id: id, page: location.pathname, timestamp: Date.now() }, more);
  }

  function flush() {
    var metrics = Object.keys(vitals).filter(function (name) {
      return vitals[name] !== sent[name];
    }).map(function (name) {
      sent[name] = vitals[name];
      return about({
        name: name, value: vitals[name],
        connection: (navigator.connection || {}).effectiveType
      });
    });
    if (metrics.length) post('performance/metrics', { metrics: metrics });
    if (events.length) post('events', { events: events.splice(0, 100) });
  }

  function observe(type, take, more) {
    try {
      new PerformanceObserver(function (list) { list.getEntries().forEach(take); })
        .observe(Object.assign({ type: type, buffered: true }, more));
    } catch (e) { /* this browser does not measure it */ }
  }

  function since(time) { return Math.max(0, time - (nav.activationStart || 0)); }

  var hiddenAt = d.visibilityState === 'hidden' ? 0 : Infinity;
  var first = 0, last = 0, sum = 0, longest = [];
  if (nav.responseStart) vitals.TTFB = since(nav.responseStart);
  observe('paint', function (e) {
    if (e.name === 'first-contentful-paint' && e.startTime < hiddenAt) vitals.FCP = since(e.startTime);
  });
  observe('largest-contentful-paint', function (e) {
    if (e.startTime < hiddenAt) vitals.LCP = since(e.startTime);
  });
  // Session windows of shifts: a second apart at most, five in all; the largest counts.
  if (hiddenAt) vitals.CLS = 0;
  observe('layout-shift', function (e) {
    if (e.hadRecentInput) return;
    if (e.startTime - last > 1000 || e.startTime - first > 5000) { sum = 0; first = e.startTime; }
    last = e.startTime;
    sum += e.value;
    vitals.CLS = Math.max(vitals.CLS || 0, sum);
  });
  observe('first-input', function (e) { vitals.FID = e.processingStart - e.startTime; interact(e); });
  observe('event', interact, { durationThreshold: 40 });

  // The longest interaction, of many the 98th percentile: one of fifty is passed over.
  function interact(e) {
    var known, count;
    if (!e.interactionId) return;
    known = longest.find(function (one) { return one.id === e.interactionId; });
    if (known) known.ms = Math.max(known.ms, e.duration);
    else longest.push({ id: e.interactionId, ms: e.duration });
    longest.sort(function (a, b) { return b.ms - a.ms; });
    longest.length = Math.min(longest.length, 10);
    count = performance.interactionCount || longest.length;
    vitals.INP = longest[Math.min(longest.length - 1, Math.floor(count / 50))].ms;
  }

  d.addEventListener('visibilitychange', function () {
    if (d.visibilityState === 'hidden') { hiddenAt = Math.min(hiddenAt, performance.now()); flush(); }
  });
  w.addEventListener('pagehide', flush);

  w.omnishot = {
    session: id,
    event: function (type, data) {
      events.push(about({ type: type, data: data }));
      clearTimeout(timer);
      if (events.length >= 20) flush(); else timer = setTimeout(flush, 5000);
    },
    step: function (step, more) {
      post('funnel', about(Object.assign({ step: step, segment: set.segment || undefined }, more)));
    },
    alert: function (name, more) {
      post('performance/alerts', about(Object.assign({ name: name }, more)));
    },
    flush: flush
  };
})(window, document);
