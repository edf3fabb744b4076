"""`speckv run --json`: a process per prompt. Speeds come from its own statistics, so loading costs
patience but no tokens per second.
"""

import json
import subprocess

from settings import arguments
from summary import Sample


class RunFailed(RuntimeError):
    """The process failed or took too long."""


class SpeckvRun:
    """The same face as `LlamaServer`."""

    def __init__(self, binary, setting, options):
        self.setting = setting
        self.options = options
        self.command = [
            binary,
            "run",
            "--json",
            "--quiet",
            *arguments(setting, options.model, options.draft),
        ]
        self.command += [
            "--threads",
            str(options.threads),
            "--ctx",
            str(options.context),
            "--temperature",
            "0",
        ]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def warm_up(self):
        """One short answer, thrown away: the system then holds the files in memory."""
        self._ask("Count from one to five.", None, 8)

    def answer(self, prompt, round_number):
        """A prompt's sample."""
        return sample(
            self._ask(prompt.text, prompt.system, self.options.max_tokens),
            self.setting,
            round_number,
            prompt,
        )

    def _ask(self, text, system, max_tokens):
        command = self.command + ["--max-tokens", str(max_tokens)]
        command += ["--system", system] if system else []
        limit = self.options.start_limit + self.options.answer_limit
        try:
            # Standard input, since a prompt may look like an option.
            ended = subprocess.run(
                [*command, "-"],
                input=text,
                capture_output=True,
                text=True,
                timeout=limit,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise RunFailed(f"{self.setting}: no answer within {limit} seconds") from error
        if ended.returncode != 0:
            raise RunFailed(
                f"{self.setting}: speckv ended with status {ended.returncode}; it said:\n{ended.stderr.strip()}"
            )
        return json.loads(ended.stdout)


def sample(answer, setting, round_number, prompt):
    """A sample of what `speckv run --json` printed."""
    stats = answer["stats"]
    return Sample(
        setting=setting,
        engine="speckv",
        round=round_number,
        prompt=prompt.id,
        task=prompt.task,
        prompt_tokens=answer["prompt_tokens"],
        tokens=len(answer["tokens"]),
        tokens_per_second=stats["tokens_per_second"],
        prompt_tokens_per_second=stats["prompt_tokens_per_second"],
        drafted=stats["drafted"],
        accepted=stats["accepted"],
        text=answer["text"],
    )
