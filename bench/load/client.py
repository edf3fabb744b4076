"""Clients that ask in a closed loop: each takes the next prompt of a common list when its last
answer is complete.
"""

import http.client
import json
import threading
import time

from figures import Answer


class AnswerFailed(RuntimeError):
    """A server refused a good request, or broke off."""


def body(prompt, max_tokens, more):
    """A greedy, streamed chat request that reads its whole prompt."""
    messages = [{"role": "system", "content": prompt.system}] if prompt.system else []
    messages.append({"role": "user", "content": prompt.text})
    common = {"stream": True, "stream_options": {"include_usage": True}, "cache_prompt": False}
    return {"messages": messages, "temperature": 0, "max_tokens": max_tokens, **common, **more}


def read_events(lines):
    """The JSON of each event of a stream; one without [DONE] at its end broke off."""
    for line in lines:
        line = line.strip()
        if line == b"data: [DONE]":
            return
        if line.startswith(b"data: "):
            event = json.loads(line[6:])
            if "error" in event:
                raise AnswerFailed(str(event["error"]))
            yield event
    raise AnswerFailed("the stream broke off before [DONE]")


def ask(port, prompt, request, limit, clock=time.perf_counter):
    """One request and its answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=limit)
    sent = clock()
    try:
        connection.request(
            "POST",
            "/v1/chat/completions",
            json.dumps(request),
            {"Content-Type": "application/json"},
        )
        reply = connection.getresponse()
        if reply.status != 200:
            raise AnswerFailed(
                f"status {reply.status}: {reply.read().decode(errors='replace')[:300]}"
            )
        arrivals, parts, usage, timings = [], [], None, {}
        for event in read_events(reply):
            moment = clock()
            for choice in event.get("choices", []):
                if text := choice["delta"].get("content"):
                    arrivals.append(moment)
                    parts.append(text)
            usage = event.get("usage") or usage
            timings = event.get("timings") or timings
        ended = clock()
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise AnswerFailed(f"{prompt.id}: {type(error).__name__}: {error}") from error
    finally:
        connection.close()
    if usage is None:
        raise AnswerFailed(f"{prompt.id}: the stream told no usage")
    return Answer(
        prompt=prompt.id,
        sent=sent,
        arrivals=tuple(arrivals) or (ended,),
        ended=ended,
        prompt_tokens=usage["prompt_tokens"],
        tokens=usage["completion_tokens"],
        drafted=timings.get("draft_n", 0),
        accepted=timings.get("draft_n_accepted", 0),
        text="".join(parts),
    )


def work(prompts, clients, each, least):
    """The prompts of a level: `each` for every client, `least` in all, going round the list."""
    return [prompts[index % len(prompts)] for index in range(max(clients * each, least))]


def run_level(port, prompts, clients, max_tokens, more, limit):
    """All clients at once, until the list is empty; the answers, in the order of the list."""
    start = threading.Barrier(min(clients, len(prompts)))
    answers, failures = [None] * len(prompts), []
    left, lock = iter(enumerate(prompts)), threading.Lock()

    def loop():
        start.wait()
        while not failures:
            with lock:
                index, prompt = next(left, (None, None))
            if prompt is None:
                return
            try:
                answers[index] = ask(port, prompt, body(prompt, max_tokens, more), limit)
            except AnswerFailed as error:
                failures.append(error)

    threads = [threading.Thread(target=loop) for _ in range(start.parties)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return answers
