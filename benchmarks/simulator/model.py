"""The simulated service: visitors, gateways with caches and lanes, queue, replicas, nodes.

Time is in milliseconds. The queue with its bound and batches, the judgement of overload, the rate
of draining and the autoscaling are the service's own classes; simulated is what is around them: who
is busy when. Not simulated: the network, requests that join an identical one in flight, and cheaper
renditions under overload.
"""

import math
import random
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import simpy

from benchmarks.serving.fleet import LATE_S, REPORT_S, TICK_S, Cluster, Starting
from benchmarks.simulator.cores import Node, Thread
from benchmarks.simulator.times import Times, estimate, may_run_inline, name_of, split_costs
from omnishot_ray.errors import Overloaded
from omnishot_ray.load.shapes import Shape
from omnishot_ray.load.traffic import Ask, Traffic
from omnishot_ray.serving.autoscaling import SETTLE_S, Fleet, Signals, State, decide
from omnishot_ray.serving.census import Place, measure_distances
from omnishot_ray.serving.dispatch import REFUSAL_S, DispatchConfig, count_places
from omnishot_ray.serving.load import Arrivals, Latencies, Stretch
from omnishot_ray.serving.overload import DrainRate, Overload
from omnishot_ray.serving.queue import TaskQueue, Waiting
from omnishot_ray.serving.scaling import AutoscaleConfig

RIGHT, SHED, LOST = "right", "shed", "lost"
_PRIORITY, _URGENT = 5, 1
_MAX_DEATHS = 2
_REST_MS = 20.0
"""How often the work comes that there is without any requests."""
_CACHE_ENTRIES = 2_600
"""128 MiB of results of 50 kB."""
_HANDED_ON_S = 60.0
"""How long a gateway's results lie there for the others of its node."""


@dataclass(frozen=True)
class Layout:
    """What the service runs on. `shared`: everything on the cores of one machine, as at a desk."""

    nodes: int = 1
    cores: int = 2
    gateways: int = 2
    replicas: int = 1
    most_replicas: int | None = None
    """More than `replicas`: they are scaled."""
    shared: bool = False
    failures: tuple[tuple[float, int], ...] = ()
    """Seconds at which a node dies, and which."""
    redis: bool = False
    urgent: float = 0.0
    """Share of the requests that are of priority 1."""


@dataclass
class Answers:
    """What came back: (ms since the beginning, latency in ms, how) of each request."""

    rows: list[tuple[float, float, str]] = field(default_factory=list)
    right_ms: dict[str, list[float]] = field(default_factory=dict)
    """Latencies of right answers by kind; of urgent ones as `urgent`."""
    seen: list[tuple[float, str, float, str, str]] = field(default_factory=list)
    """Seconds from the beginning to the answer, kind, latency in ms, how, and the way it went."""
    replicas: list[tuple[float, int]] = field(default_factory=list)
    pooled: int = 0
    hits: int = 0
    redis_looks: int = 0
    busy: dict[str, float] = field(default_factory=dict)
    """Shares of the time that threads of a kind were busy."""

    def figures(self, from_s: float = 0.0, until_s: float = math.inf) -> dict[str, float]:
        """Right answers a second, p50, p95 and p99 in ms, and shares of what was not right."""
        rows = [row for row in self.rows if from_s * 1000 <= row[0] < until_s * 1000]
        right = sorted(ms for _, ms, how in rows if how == RIGHT)
        last = max((row[0] for row in rows), default=0.0)
        seconds = max(1e-9, min(until_s * 1000, last) - from_s * 1000) / 1000
        return {
            "rps": len(right) / seconds,
            **{f"p{p}": rank(right, p / 100) for p in (50, 95, 99)},
            "shed": sum(how == SHED for *_, how in rows) / max(1, len(rows)),
            "lost": sum(how == LOST for *_, how in rows),
        }


def rank(ordered: Sequence[float], share: float) -> float:
    """The quantile of what is in order; 0 of none."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0


@dataclass
class _Work:
    """A request in the service, or a part of one. `TaskQueue` wants `priority` and `data`."""

    ask: Ask
    cost_ms: float
    takes_ms: float
    priority: int = _PRIORITY
    data: bytes = b""
    calm: float | None = None
    is_bounded: bool = True
    """Whether it may run in a gateway, where nothing could end it."""
    way: str = ""


class _Outcome:
    """Stands for the future of a task in the queue."""

    def __init__(self, event: simpy.Event) -> None:
        self.event = event

    def done(self) -> bool:
        return bool(self.event.triggered)


class _Replica:
    def __init__(self, node: Node) -> None:
        self.loop, self.thread = Thread(node, nice=5), Thread(node, nice=5)
        self.node = node


class _Gateway:
    """One gateway: an event loop, a thread for inline work, a queue, a cache."""

    def __init__(self, service: "Service", node: Node) -> None:
        self.service, self.env, self.node = service, service.env, node
        self.loop, self.inline = Thread(node), Thread(node)
        self.inline_ms = 0.0
        self.open = self.had = 0
        self.queue = TaskQueue(service.config.queue)
        self.out: dict[_Replica, int] = {}
        self.overload = Overload(service.config.overload, self.now_s)
        self.drain = DrainRate(self.now_s)
        self.latencies, self.arrivals, self.stretch = Latencies(), Arrivals(), Stretch()
        self.cache: OrderedDict[tuple[str, int], None] = OrderedDict()
        self.made: OrderedDict[tuple[str, int], float] = OrderedDict()
        self._known: tuple[list[_Replica], list[_Gateway]] = [], []
        self._turns: dict[_Replica, int] = {}

    def now_s(self) -> float:
        return float(self.env.now) / 1000.0

    def serve(self, work: _Work) -> Iterator[Any]:
        """The walk of a request; returns how it ended."""
        edge_ms, config = self.service.times.edge(work.ask), self.service.config
        key = (name_of(work.ask), work.ask.number)
        if self._look(key):
            self.service.answers.hits += 1
            work.way = "hit"
            yield from self.loop.run(edge_ms)
            return RIGHT
        fits = work.is_bounded and self._has_room(work.cost_ms)
        if work.cost_ms < config.loop_ms and fits:
            work.way = "loop"
            yield from self.loop.run(edge_ms + work.takes_ms, work.calm)
            self._keep(key)
            return RIGHT
        yield from self.loop.run(edge_ms / 2)
        if work.cost_ms < config.inline_ms and work.is_bounded and self._has_room(work.cost_ms):
            work.way = "inline"
            self.inline_ms += work.cost_ms
            yield from self.inline.run(work.takes_ms, work.calm)
            self.inline_ms -= work.cost_ms
            how = RIGHT
        else:
            work.way = "pool"
            how = yield from self._pooled(work)
        if how == RIGHT:
            self._keep(key)
        yield from self.loop.run(edge_ms / 2)
        return how

    def _has_room(self, cost_ms: float) -> bool:
        limit_ms = self.service.config.inline_waiting_ms
        return self.inline_ms == 0 or self.inline_ms + cost_ms <= limit_ms

    def _look(self, key: tuple[str, int]) -> bool:
        if key in self.cache:
            self.cache.move_to_end(key)
            return True
        oldest_s = self.now_s() - _HANDED_ON_S
        if any(
            one.made.get(key, -math.inf) >= oldest_s
            for one in self.service.gateways
            if one.node is self.node
        ):
            self._remember(key)
            return True
        self.service.answers.redis_looks += self.service.layout.redis
        return self.service.layout.redis and key in self.service.shared_cache

    def _keep(self, key: tuple[str, int]) -> None:
        self._remember(key)
        self.made[key] = self.now_s()
        if len(self.made) > _CACHE_ENTRIES // 2:  # 64 MiB
            self.made.popitem(last=False)
        self.service.shared_cache[key] = None
        if len(self.service.shared_cache) > _CACHE_ENTRIES * 100:
            self.service.shared_cache.popitem(last=False)

    def _remember(self, key: tuple[str, int]) -> None:
        self.cache[key] = None
        if len(self.cache) > _CACHE_ENTRIES:
            self.cache.popitem(last=False)

    def _pooled(self, work: _Work) -> Iterator[Any]:
        parts = self._split(work)
        done = [self._enqueue(part) for part in parts]
        if None in done:
            yield self.env.timeout(REFUSAL_S * 1000.0)
            return SHED
        how = RIGHT
        for event in done:
            one = yield event
            how = how if one == RIGHT else one
        return how

    def _split(self, work: _Work) -> Sequence[_Work]:
        """Parts for the replicas that are free, as `serving/dispatch.py` makes them."""
        config = self.service.config
        free = self._places() - sum(self.out.values())
        if free < 2 or self.queue or work.cost_ms < config.split_ms:
            return [work]
        parts = self.service.split(work.ask, free)
        if max(parts) + config.queue.hop_ms >= 0.8 * work.cost_ms:
            return [work]
        return [
            replace(work, cost_ms=cost_ms, takes_ms=work.takes_ms * cost_ms / work.cost_ms)
            for cost_ms in parts
        ]

    def _enqueue(self, work: _Work) -> simpy.Event | None:
        """None when it is turned away."""
        self.service.answers.pooled += 1
        now_s = self.now_s()
        self.arrivals.note(work.cost_ms, now_s)
        done = self.env.event()
        waiting = Waiting(work, work.cost_ms, _Outcome(done), now_s)  # type: ignore[arg-type]
        replicas = len(self.service.replicas)
        missing = max(0, (self.service.layout.most_replicas or 0) - replicas)
        try:
            drain_rate, offered = self.drain.per_ms(replicas), self.arrivals.cores(now_s)
            self.queue.push(waiting, drain_rate, missing, offered)
        except Overloaded:
            self.overload.note(1.0)
            return None
        self.pump()
        return done

    def _places(self) -> int:
        service = self.service
        each = service.config.batches_per_replica
        offered = self.arrivals.cores(self.now_s()) * self.stretch.times
        replicas, gateways = len(service.replicas), len(service.gateways)
        return count_places(replicas, gateways, each, offered, self.queue.stands)

    def pump(self) -> None:
        for waiting in self.queue.shed(self.now_s()):
            waiting.outcome.event.succeed(SHED)  # type: ignore[attr-defined]
        places = self._places()
        while self.queue and sum(self.out.values()) < places:
            batch = self.queue.pop_batch(places - sum(self.out.values()))
            if batch:
                turns = self._distances()
                replica = min(turns, key=lambda one: (self.out.get(one, 0), turns[one]))
                self.out[replica] = self.out.get(replica, 0) + 1
                self.drain.begin()
                self.env.process(self._run_batch(replica, batch))
        self.overload.note(self.queue.fill)

    def _distances(self) -> dict[_Replica, int]:
        """Whose turn it is of those with as much from here, as in `serving/routing.py`."""
        service, known = self.service, (self.service.replicas, self.service.gateways)
        if self._known != known and self in service.gateways:
            self._known = [*known[0]], [*known[1]]
            names = {node: str(at) for at, node in enumerate(service.nodes)}
            like = [one for one in service.gateways if one.node is self.node]
            ranks = service.gateways.index(self), like.index(self)
            place = Place(*ranks, len(service.gateways), names[self.node])
            turns = measure_distances([names[one.node] for one in service.replicas], place)
            self._turns = dict(zip(service.replicas, turns, strict=True))
        return self._turns

    def _run_batch(self, replica: _Replica, batch: Sequence[Waiting]) -> Iterator[Any]:
        times, sent_at = self.service.times, self.now_s()
        yield from self.loop.run(times.hop_ms / 2)
        yield from replica.loop.run(times.hop_far_ms / 2)
        for waiting in batch:
            if replica.node.alive:
                task: _Work = waiting.task  # type: ignore[assignment]
                yield from replica.thread.run(task.takes_ms, task.calm)
        yield from replica.loop.run(times.hop_far_ms / 2)
        yield from self.loop.run(times.hop_ms / 2)
        self.out[replica] -= 1
        cost_ms = sum(waiting.cost_ms for waiting in batch)
        self.drain.end(cost_ms)
        now_s = self.now_s()
        hop_ms = self.service.config.queue.hop_ms
        self.stretch.note(cost_ms + hop_ms, (now_s - sent_at) * 1000.0)
        for waiting in batch:
            outcome = waiting.outcome.event  # type: ignore[attr-defined]
            if replica.node.alive:
                self.latencies.note((now_s - waiting.enqueued_at) * 1000.0, now_s)
                if not outcome.triggered:
                    outcome.succeed(RIGHT)
                continue
            waiting.deaths += 1
            if waiting.deaths < _MAX_DEATHS:
                self.queue.push_back(waiting)
            elif not outcome.triggered:
                outcome.succeed(LOST)
        self.pump()


class Service:
    """All of it, on one clock."""

    def __init__(
        self,
        layout: Layout,
        times: Times,
        config: DispatchConfig | None = None,
        autoscale: AutoscaleConfig | None = None,
        seed: int = 1,
    ) -> None:
        self.env = simpy.Environment()
        self.layout, self.times, self.config = layout, times, config or DispatchConfig()
        self.answers = Answers()
        self.shared_cache: OrderedDict[tuple[str, int], None] = OrderedDict()
        self.nodes = [
            Node(self.env, layout.cores, layout.shared, times.calm, times.busy, times.beside)
            for _ in range(max(1, layout.nodes))
        ]
        self.chance = random.Random(seed)
        self._client = Thread(self.nodes[0])
        self._proxies = [Thread(node) for node in self.nodes]
        self.gateways = [
            _Gateway(self, self.nodes[number % len(self.nodes)])
            for number in range(layout.gateways)
        ]
        self.replicas: list[_Replica] = []
        self._judged: dict[str, tuple[float, bool]] = {}
        self._splits: dict[tuple[str, int], tuple[float, ...]] = {}
        self._asked = 0
        self._grow(layout.replicas)
        if layout.most_replicas and layout.most_replicas > layout.replicas:
            self.env.process(self._scale(autoscale or AutoscaleConfig()))
        if times.background:
            self.env.process(self._rest())
        for at_s, number in layout.failures:
            self.env.process(self._fail(at_s, number))

    def _grow(self, count: int) -> None:
        while len(self.replicas) < count:
            alive = [node for node in self.nodes if node.alive]
            self.replicas.append(_Replica(alive[len(self.replicas) % len(alive)]))
        while len(self.replicas) > count:
            self.replicas.pop()  # what it has it finishes
        for gateway in self.gateways:
            gateway.pump()

    def _rest(self) -> Iterator[Any]:
        thread = Thread(self.nodes[0])
        while True:
            yield self.env.timeout(_REST_MS)
            # Measured in the service as it is, so nothing is added for cold caches.
            yield from thread.run(self.times.background * _REST_MS, 1.0)

    def _fail(self, at_s: float, number: int) -> Iterator[Any]:
        yield self.env.timeout(at_s * 1000)
        node = self.nodes[number]
        node.alive = False
        before = len(self.replicas)
        self.replicas = [one for one in self.replicas if one.node.alive]
        self.gateways = [one for one in self.gateways if one.node.alive]
        lost = before - len(self.replicas)
        yield self.env.timeout(Cluster().replica_start_s * 1000)
        if any(one.alive for one in self.nodes):
            self._grow(len(self.replicas) + lost)

    def ask(self, ask: Ask) -> Iterator[Any]:
        """A request from its sending to its answer."""
        name, times = name_of(ask), self.times
        if name not in self._judged:
            self._judged[name] = estimate(ask), may_run_inline(ask)
        cost_ms, is_bounded = self._judged[name]
        urgent = bool(self.layout.urgent) and self.chance.random() < self.layout.urgent
        work = _Work(
            ask,
            cost_ms,
            times.engine.get(name, cost_ms) * self._luck(),
            priority=_URGENT if urgent else _PRIORITY,
            data=ask.picture.data,
            calm=times.calm_of.get(ask.kind),
            is_bounded=is_bounded,
        )
        megabytes = len(ask.picture.data) / 1e6
        client_ms = (times.client_ms + times.client_byte_ms * megabytes) / 4
        yield from self._on_client(client_ms)  # made
        at_ms = float(self.env.now)
        yield from self._on_client(client_ms)  # sent
        alive = [one for one in self._proxies if one.node.alive] or self._proxies
        proxy = alive[self._asked % len(alive)]
        if times.proxy_ms:
            yield from proxy.run(times.proxy_ms / 2)
        # As HAProxy's leastconn does it: of those with the fewest, the one whose turn it is.
        gateway = min(self.gateways, key=lambda one: (one.open, one.had))
        gateway.open += 1
        gateway.had = self._asked = self._asked + 1
        how = yield from gateway.serve(work)
        gateway.open -= 1
        if not gateway.node.alive:
            how = LOST
        if times.proxy_ms:
            yield from proxy.run(times.proxy_ms / 2)
        yield from self._on_client(client_ms)  # read
        took_ms = float(self.env.now) - at_ms
        self.answers.rows.append((at_ms, took_ms, how))
        if how == RIGHT:
            kind = "urgent" if urgent else ask.kind
            self.answers.right_ms.setdefault(kind, []).append(took_ms)
        ended_s = float(self.env.now) / 1000.0
        self.answers.seen.append((ended_s, ask.kind, took_ms, how, work.way))
        yield from self._on_client(client_ms)  # looked at

    @property
    def cpu_ms(self) -> float:
        """CPU time that requests have taken, on shared cores, without what the load takes."""
        threads = [*self._proxies]
        threads += [thread for one in self.replicas for thread in (one.loop, one.thread)]
        threads += [thread for one in self.gateways for thread in (one.loop, one.inline)]
        return sum(thread.on_core_ms for thread in threads)

    def split(self, ask: Ask, parts: int) -> tuple[float, ...]:
        """Estimates of the parts of a request."""
        key = (name_of(ask), parts)
        if key not in self._splits:
            self._splits[key] = split_costs(ask, parts)
        return self._splits[key]

    def _luck(self) -> float:
        """By how much a piece of work takes longer or shorter than it should; 1 in the mean."""
        spread = self.times.noise
        return math.exp(self.chance.gauss(-spread * spread / 2, spread))

    def _on_client(self, ms: float) -> Iterator[Any]:
        """A part of what the load itself takes for a request."""
        if ms:
            yield from self._client.run(ms)

    def _scale(self, config: AutoscaleConfig) -> Iterator[Any]:
        target, state = self.layout.replicas, State()
        starting = Starting(Cluster(cores_per_node=self.layout.cores), target)
        reports: deque[tuple[float, Signals]] = deque()
        usage: deque[tuple[float, float]] = deque([(0.0, 0.0)])
        seen, tick = Signals(complete=False), 0
        while True:
            yield self.env.timeout(TICK_S * 1000)
            now_s, tick = float(self.env.now) / 1000, tick + 1
            if tick % round(REPORT_S / TICK_S) == 0:
                usage.append((now_s, sum(one.thread.busy_ms for one in self.replicas) / 1000))
                while usage[0][0] < now_s - SETTLE_S:
                    usage.popleft()
                reports.append((now_s, self._signals(usage, now_s)))
                self.answers.replicas.append((now_s, len(self.replicas)))
            while reports and reports[0][0] <= now_s - LATE_S:
                seen = reports.popleft()[1]
            most = self.layout.most_replicas or 1
            fleet = Fleet(len(self.replicas), target, 1, most)
            decision = decide(fleet, seen, state, config, now_s)
            state = decision.state
            if decision.replicas != target:
                target = decision.replicas
                starting.want(target, now_s)
            self._grow(max(1, min(starting.count(now_s), most)))

    def _signals(self, usage: "deque[tuple[float, float]]", now_s: float) -> Signals:
        (then_s, then), (_, now) = usage[0], usage[-1]
        span = max(now_s - then_s, 1e-9) * max(1, len(self.replicas))
        waiting = sum(len(one.queue) for one in self.gateways)
        late = [one.latencies.p95(now_s) for one in self.gateways if one.queue]
        return Signals(
            queued_ms=sum(one.queue.waiting_ms for one in self.gateways),
            waiting=waiting,
            active=sum(sum(one.out.values()) for one in self.gateways) / max(1, len(self.replicas)),
            cpu=min(1.0, max(0.0, now - then) / span),
            p95_ms=max(late, default=0.0),
            offered=sum(one.arrivals.cores(now_s) for one in self.gateways),
        )


def run_closed(service: Service, traffic: Traffic, shape: Shape, first: int = 0) -> Answers:
    """Visitors who think, ask, and wait for the answer, as many as the shape says.

    As with Locust those of a stage go on in the next one, and the last to come are the first to go.
    """
    env, wanted = service.env, 0

    def visit(number: int) -> Iterator[Any]:
        asks = traffic.visitor(first + number)
        while number < wanted:
            ask = next(asks)
            yield env.timeout(ask.think_s * 1000)
            if number < wanted:
                yield from service.ask(ask)

    def stages() -> Iterator[Any]:
        nonlocal wanted
        for stage in shape.stages:
            before, wanted = wanted, stage.users
            for number in range(before, wanted):
                env.process(visit(number))
            yield env.timeout(stage.seconds * 1000)
        wanted = 0

    env.process(stages())
    return _finish(service, shape.seconds)


def run_open(
    service: Service, traffic: Traffic, rate: float, seconds: float, seed: int = 1
) -> Answers:
    """So many requests a second on average, at times of chance, whatever becomes of them."""
    env, chance, asks = service.env, random.Random(seed), traffic.visitor(0)

    def arrive() -> Iterator[Any]:
        while env.now < seconds * 1000:
            yield env.timeout(chance.expovariate(rate) * 1000)
            env.process(service.ask(next(asks)))

    env.process(arrive())
    return _finish(service, seconds)


def _finish(service: Service, seconds: float) -> Answers:
    service.env.run(until=service.env.now + seconds * 1000)
    answers = service.answers
    for name, threads in (
        ("event loops", [one.loop for one in service.gateways]),
        ("inline threads", [one.inline for one in service.gateways]),
        ("resizers", [one.thread for one in service.replicas]),
    ):
        used = sum(min(thread.busy_ms, seconds * 1000) for thread in threads)
        answers.busy[name] = used / (seconds * 1000) / max(1, len(threads))
    return answers
