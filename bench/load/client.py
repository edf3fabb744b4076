"""Clients that ask in a closed loop: each sends its next request when its last answer is complete."""

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
    """The JSON of each event of a stream; ends at [DONE]."""
    for line in lines:
        line = line.strip()
        if line == b"data: [DONE]":
            return
        if line.startswith(b"data: "):
            event = json.loads(line[6:])
            if "error" in event:
                raise AnswerFailed(str(event["error"]))
            yield event


def ask(port, prompt, request, limit, clock=time.perf_counter):
    """One request and its answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=limit)
    sent = clock()
    try:
        connection.request("POST", "/v1/chat/completions", json.dumps(request), {"Content-Type": "application/json"})
        reply = connection.getresponse()
        if reply.status != 200:
            raise AnswerFailed(f"status {reply.status}: {reply.read().decode(errors='replace')[:300]}")
        arrivals, parts, tokens = [], [], None
        for event in read_events(reply):
            moment = clock()
            for choice in event.get("choices", []):
                if text := choice["delta"].get("content"):
                    arrivals.append(moment)
                    parts.append(text)
            if usage := event.get("usage"):
                tokens = usage["completion_tokens"]
        if tokens is None:
            raise AnswerFailed("the stream told no usage")
        return Answer(prompt.id, sent, tuple(arrivals) or (clock(),), clock(), tokens, "".join(parts))
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise AnswerFailed(f"{type(error).__name__}: {error}") from error
    finally:
        connection.close()


def share(prompts, clients, each, offset):
    """`each` prompts for every client, going round the list from `offset` on, so that neighbours in time are different."""
    return [[prompts[(offset + client + clients * turn) % len(prompts)] for turn in range(each)] for client in range(clients)]


def run_level(port, work, max_tokens, more, limit):
    """All clients at once; their answers, by client."""
    start = threading.Barrier(len(work))
    done, failures = [[] for _ in work], []

    def loop(client):
        start.wait()
        try:
            for prompt in work[client]:
                done[client].append(ask(port, prompt, body(prompt, max_tokens, more), limit))
        except AnswerFailed as error:
            failures.append(error)

    threads = [threading.Thread(target=loop, args=(client,)) for client in range(len(work))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return done
