"""What answers under load amount to: throughput, waiting, gaps. No clock, no file, no process."""

from dataclasses import dataclass, field

from spread import quantile


@dataclass(frozen=True)
class Answer:
    """One streamed answer; times are seconds of one clock."""

    prompt: str
    sent: float
    arrivals: tuple[float, ...]  # of the parts with text, in order
    ended: float
    tokens: int
    text: str = field(repr=False)

    @property
    def first_token_seconds(self):
        """From the request to the first text."""
        return self.arrivals[0] - self.sent

    @property
    def gaps(self):
        """Seconds between parts of text, as a reader sees them."""
        return [later - earlier for earlier, later in zip(self.arrivals, self.arrivals[1:])]

    def tokens_before(self, moment):
        """Tokens that had come by a moment, as if they had come evenly between the first part and the end."""
        start = self.arrivals[0] if self.arrivals else self.ended
        if moment >= self.ended:
            return float(self.tokens)
        if moment <= start:
            return 0.0
        return self.tokens * (moment - start) / (self.ended - start)


@dataclass(frozen=True)
class Level:
    """Figures of one setting at one number of clients."""

    setting: str
    clients: int
    answers: int
    tokens_per_second: float
    first_token_p50: float
    first_token_p95: float
    gap_p50: float
    gap_p95: float


def busy_period(by_client):
    """Start and end of the time in which every client was asking: afterwards a server has less to do than the number of clients says."""
    start = min(answer.sent for answers in by_client for answer in answers)
    return start, min(max(answer.ended for answer in answers) for answers in by_client)


def throughput(by_client):
    """Tokens per second of all clients together while all were busy."""
    start, end = busy_period(by_client)
    tokens = sum(answer.tokens_before(end) for answers in by_client for answer in answers)
    return tokens / (end - start)


def level(setting, by_client):
    """The figures of a list of answers per client."""
    answers = [answer for answers in by_client for answer in answers]
    waits = [answer.first_token_seconds for answer in answers if answer.arrivals]
    gaps = [gap for answer in answers for gap in answer.gaps] or [0.0]
    return Level(
        setting,
        len(by_client),
        len(answers),
        throughput(by_client),
        quantile(waits, 0.5),
        quantile(waits, 0.95),
        quantile(gaps, 0.5),
        quantile(gaps, 0.95),
    )


def medians(levels):
    """The rounds of each setting and number of clients as one level: medians of every figure."""
    groups = {}
    for one in levels:
        groups.setdefault((one.setting, one.clients), []).append(one)
    figures = ("tokens_per_second", "first_token_p50", "first_token_p95", "gap_p50", "gap_p95")
    return [
        Level(setting, clients, sum(one.answers for one in group), *(quantile([getattr(one, name) for one in group], 0.5) for name in figures))
        for (setting, clients), group in groups.items()
    ]


def ratios(levels, over, under):
    """Throughput of setting `over` by that of the best of the settings `under`, by number of clients."""
    speeds = {}
    for one in medians(levels):
        speeds.setdefault(one.clients, {})[one.setting] = one.tokens_per_second
    found = {}
    for clients, by_setting in sorted(speeds.items()):
        base = max((by_setting[name] for name in under if name in by_setting), default=0.0)
        if over in by_setting and base > 0:
            found[clients] = by_setting[over] / base
    return found


def differing_texts(answers_by_setting, reference):
    """Prompts whose text under a setting is not that of the reference, by setting."""
    expected = {answer.prompt: answer.text for answer in answers_by_setting.get(reference, [])}
    return {
        setting: sorted({a.prompt for a in answers if a.prompt in expected and a.text != expected[a.prompt]})
        for setting, answers in answers_by_setting.items()
    }
