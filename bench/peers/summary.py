"""From samples to the rows of the table: speed, acceptance, ratios against the peer's best setting
and against own plain decoding.
"""

from dataclasses import dataclass

from spread import Spread, paired_ratio, spread


@dataclass
class Sample:
    """One prompt answered once under one setting."""

    setting: str
    engine: str
    round: int
    prompt: str
    task: str
    prompt_tokens: int
    tokens: int
    tokens_per_second: float  # decoding alone
    prompt_tokens_per_second: float | None
    drafted: int
    accepted: int
    text: str

    @property
    def key(self):
        """What a sample of another setting must share to be compared with this one."""
        return (self.round, self.prompt)


@dataclass(frozen=True)
class Row:
    """A setting, summed up."""

    setting: str
    engine: str
    speed: Spread
    prompt_speed: Spread | None
    acceptance_rate: float | None
    against_best_peer: Spread | None
    against_own_plain: Spread | None

    def as_json(self):
        return {
            name: value.as_json() if isinstance(value, Spread) else value
            for name, value in vars(self).items()
        }


def speeds(samples, setting):
    """Tokens per second of a setting, by round and prompt."""
    return {s.key: s.tokens_per_second for s in samples if s.setting == setting}


def best_setting(samples, engine):
    """The setting of `engine` with the highest median speed; None if it has none.

    The best of many noisy medians is on the lucky side: the comparison favours the peer.
    """
    settings = {s.setting for s in samples if s.engine == engine}
    medians = {setting: spread(speeds(samples, setting).values()).median for setting in settings}
    return max(sorted(medians), key=medians.get, default=None)


def rows(samples, plain):
    """A row per setting, in order of first appearance. `plain` names each engine's plain
    setting."""
    best = best_setting(samples, "llama")
    best_speeds = speeds(samples, best) if best else {}
    result = []
    for setting in dict.fromkeys(s.setting for s in samples):
        own = [s for s in samples if s.setting == setting]
        engine = own[0].engine
        drafted = sum(s.drafted for s in own)
        result.append(
            Row(
                setting=setting,
                engine=engine,
                speed=spread(s.tokens_per_second for s in own),
                prompt_speed=spread(
                    s.prompt_tokens_per_second for s in own if s.prompt_tokens_per_second
                ),
                acceptance_rate=sum(s.accepted for s in own) / drafted if drafted else None,
                against_best_peer=paired_ratio(speeds(samples, setting), best_speeds),
                against_own_plain=paired_ratio(
                    speeds(samples, setting), speeds(samples, plain.get(engine, ""))
                ),
            )
        )
    return result


def by_task(samples, plain):
    """Rows over all samples, then over those of each task alone: a task has its own best setting of
    the peer.
    """
    tasks = list(dict.fromkeys(s.task for s in samples))
    parts = {"all tasks": samples} | {
        task: [s for s in samples if s.task == task] for task in tasks
    }
    return {name: rows(part, plain) for name, part in parts.items()}


def prompt_disagreements(samples):
    """Prompts that were not always the same number of tokens: {prompt: {tokens: settings}}. Such a
    comparison is void.
    """
    counts = {}
    for s in samples:
        settings = counts.setdefault(s.prompt, {}).setdefault(s.prompt_tokens, [])
        if s.setting not in settings:
            settings.append(s.setting)
    return {prompt: by_count for prompt, by_count in counts.items() if len(by_count) > 1}


def texts_unlike_plain(samples, plain):
    """Per setting, how many answers differ from the first answer of its engine's plain setting to
    the prompt, and of how many.

    Greedy decoding under speculation should change none.
    """
    reference = {}
    for s in samples:
        if s.setting == plain.get(s.engine):
            reference.setdefault((s.engine, s.prompt), s.text)
    result = {}
    for s in samples:
        expected = reference.get((s.engine, s.prompt))
        if expected is not None:
            differing, count = result.get(s.setting, (0, 0))
            result[s.setting] = (differing + (s.text != expected), count + 1)
    return result
