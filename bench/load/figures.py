"""What answers under load amount to: throughput, waiting, gaps, ratios. No clock, no file, no
process.
"""

from dataclasses import dataclass, field

from spread import paired_ratio, quantile, spread


@dataclass(frozen=True)
class Answer:
    """One streamed answer; times are seconds of one clock."""

    prompt: str
    sent: float
    arrivals: tuple[float, ...]  # of the parts with text, in order
    ended: float
    prompt_tokens: int
    tokens: int
    drafted: int
    accepted: int
    text: str = field(repr=False)

    @property
    def first_token_seconds(self):
        """From the request to the first text."""
        return self.arrivals[0] - self.sent

    @property
    def gaps(self):
        """Seconds between parts of text, as a reader sees them."""
        return [later - earlier for earlier, later in zip(self.arrivals, self.arrivals[1:])]

    @property
    def tokens_per_second(self):
        """As its client sees it, waiting and reading of the prompt included."""
        return self.tokens / (self.ended - self.sent)


@dataclass(frozen=True)
class Block:
    """All answers of one setting at one number of clients in one round."""

    round: int
    clients: int
    setting: str
    answers: tuple[Answer, ...]

    @property
    def tokens_per_second(self):
        """Tokens of all clients together, from the first request to the end of the last answer."""
        seconds = max(a.ended for a in self.answers) - min(a.sent for a in self.answers)
        return sum(a.tokens for a in self.answers) / seconds


@dataclass(frozen=True)
class Row:
    """Figures of one setting at one number of clients, over all rounds."""

    clients: int
    setting: str
    rounds: int
    answers: int
    tokens_per_second: float  # median of the rounds
    lowest: float
    highest: float
    first_token_p50: float
    first_token_p95: float
    gap_p50: float
    gap_p95: float
    drafted_per_token: float
    acceptance_rate: float | None


def rows(blocks):
    """A row for every number of clients and setting, in that order."""
    groups = {}
    for block in blocks:
        groups.setdefault((block.clients, block.setting), []).append(block)
    return [row(clients, setting, groups[clients, setting]) for clients, setting in sorted(groups)]


def row(clients, setting, blocks):
    """The figures of the rounds of one setting at one number of clients; quantiles are over all
    answers and all gaps.
    """
    answers = [answer for block in blocks for answer in block.answers]
    speeds = [block.tokens_per_second for block in blocks]
    waits = [answer.first_token_seconds for answer in answers]
    gaps = [gap for answer in answers for gap in answer.gaps] or [0.0]
    drafted, accepted = sum(a.drafted for a in answers), sum(a.accepted for a in answers)
    return Row(
        clients=clients,
        setting=setting,
        rounds=len(blocks),
        answers=len(answers),
        tokens_per_second=quantile(speeds, 0.5),
        lowest=min(speeds),
        highest=max(speeds),
        first_token_p50=quantile(waits, 0.5),
        first_token_p95=quantile(waits, 0.95),
        gap_p50=quantile(gaps, 0.5),
        gap_p95=quantile(gaps, 0.95),
        drafted_per_token=drafted / max(1, sum(a.tokens for a in answers)),
        acceptance_rate=accepted / drafted if drafted else None,
    )


@dataclass(frozen=True)
class Ratio:
    """How much faster a setting is than another at one number of clients."""

    clients: int
    over: str
    under: str
    throughput: float  # median over rounds of the ratio within a round
    lowest: float
    highest: float
    answer: float  # median over answers of tokens per second as the client sees them, paired by prompt and round
    lower_quartile: float
    upper_quartile: float


def ratio(blocks, clients, over, under):
    """The ratio of two settings, paired by round and by answer; None where one of them is
    missing."""

    def of(setting):
        return [block for block in blocks if block.clients == clients and block.setting == setting]

    def by_answer(setting):
        return {
            (b.round, place): a.tokens_per_second
            for b in of(setting)
            for place, a in enumerate(b.answers)
        }

    whole = {block.round: block.tokens_per_second for block in of(over)}
    base = {block.round: block.tokens_per_second for block in of(under)}
    throughput, single = paired_ratio(whole, base), paired_ratio(by_answer(over), by_answer(under))
    if throughput is None or single is None:
        return None
    each = [whole[number] / base[number] for number in whole.keys() & base.keys()]
    return Ratio(
        clients,
        over,
        under,
        spread(each).median,
        min(each),
        max(each),
        single.median,
        single.lower,
        single.upper,
    )


def best(found, clients, settings):
    """The setting among `settings` with the highest median throughput at a number of clients; None
    if there is none.
    """
    speeds = {
        one.setting: one.tokens_per_second
        for one in found
        if one.clients == clients and one.setting in settings
    }
    return max(speeds, key=speeds.get, default=None)


def differing_texts(blocks, reference, prefix):
    """Prompts with an answer unlike the reference's first, by setting; settings are those whose
    name starts with `prefix`.
    """
    expected, found = {}, {}
    for block in blocks:
        if block.setting == reference:
            for answer in block.answers:
                expected.setdefault(answer.prompt, answer.text)
    for block in blocks:
        if block.setting.startswith(prefix):
            other = {
                a.prompt
                for a in block.answers
                if a.prompt in expected and a.text != expected[a.prompt]
            }
            found[block.setting] = sorted(other.union(found.get(block.setting, ())))
    return found


def differing_prompts(blocks):
    """Prompts that not all settings turn into the same number of tokens, with the numbers."""
    counts = {}
    for block in blocks:
        for answer in block.answers:
            counts.setdefault(answer.prompt, set()).add(answer.prompt_tokens)
    return {prompt: sorted(numbers) for prompt, numbers in counts.items() if len(numbers) > 1}
