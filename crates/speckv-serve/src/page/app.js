/* The page: connects to the server, sends messages, shows answers. */
const STARTERS = [
  "Write a Python function that merges two sorted lists.",
  "List the numbers from one to twenty in words.",
  "Why is the sky blue? Answer in two sentences.",
];
const welcome = $("welcome");
let running = null;
let drafting = true; /* whether this server can draft */

function headers() {
  const key = $("key").value.trim();
  return { "Content-Type": "application/json", ...(key ? { Authorization: "Bearer " + key } : {}) };
}

function options(select, names, first) {
  const chosen = select.value;
  select.replaceChildren(new Option(first, ""), ...names.map(name => new Option(name, name)));
  select.value = names.includes(chosen) ? chosen : "";
}

async function connect() {
  try {
    const reply = await fetch("/v1/models", { headers: headers() });
    const body = await reply.json();
    if (!reply.ok) throw new Error(body.error.message);
    const card = body.data[0];
    drafting = card.drafters.some(name => name !== "none");
    const draft = drafting ? "draft: " + (card.draft || card.drafters[0]) : "no draft";
    $("model").textContent = [card.id, draft, card.max_model_len + " tokens"].join(" · ");
    options($("controller"), card.controllers, "automatic (" + card.controller + ")");
    options($("draft"), card.drafters, "automatic");
    document.querySelectorAll(".drafting").forEach(part => {
      part.hidden = !drafting;
    });
    welcome.querySelectorAll(".drafting").forEach(part => {
      part.hidden = !drafting;
    });
    welcome.querySelector(".plainly").hidden = drafting;
    if (!drafting) $("compare").checked = false;
  } catch (error) {
    $("model").textContent = error.message;
  }
}

function request(messages, speculation) {
  const system = chats.current.system.trim();
  return {
    messages: system ? [{ role: "system", content: system }, ...messages] : messages,
    stream: true,
    stream_options: { include_usage: true },
    max_tokens: number("max-tokens"),
    temperature: number("temperature"),
    top_p: number("top-p"),
    top_k: number("top-k"),
    seed: number("seed"),
    speculation: { details: true, ...speculation },
  };
}

function chosenSpeculation() {
  if (!drafting) return {};
  const speculation = {};
  if ($("controller").value) speculation.controller = $("controller").value;
  if (number("gamma") !== undefined) speculation.gamma = number("gamma");
  if ($("draft").value) speculation.draft = $("draft").value;
  return speculation;
}

/* The JSON behind each "data:" of a stream, as it comes. */
async function* events(reply) {
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      if (!line.startsWith("data: ")) continue;
      const data = line.slice(6);
      if (data === "[DONE]") return;
      yield JSON.parse(data);
    }
  }
}

async function stream(side, messages, speculation, signal) {
  try {
    const body = JSON.stringify(request(messages, speculation));
    const reply = await fetch("/v1/chat/completions", {
      method: "POST",
      headers: headers(),
      body,
      signal,
    });
    if (!reply.ok) {
      const body = await reply
        .json()
        .catch(() => ({ error: { message: "HTTP status " + reply.status } }));
      throw new Error(body.error.message);
    }
    for await (const chunk of events(reply)) side.add(chunk, $("log"));
    side.end();
  } catch (error) {
    side.show();
    if (error.name === "AbortError") {
      side.end();
      side.figures.textContent = "stopped after " + side.tokens + " tokens";
    } else side.fail(error.message);
  }
}

/* Plain decoding of the same messages beside an answer, and the ratio above both. */
async function compare(turn, first, messages, signal) {
  const plain = new Side("Plain decoding", false);
  [first.beside, plain.beside] = [plain, first];
  turn.classList.add("pair");
  turn.append(plain.box);
  first.plot();
  await stream(plain, messages, { controller: "off" }, signal);
  const speeds = [first, plain].map(side => side.timings && side.timings.predicted_per_second);
  if (!speeds[0] || !speeds[1]) return;
  const ratio = speeds[0] / speeds[1];
  const same =
    first.content === plain.content
      ? "The text is the same."
      : number("temperature") === 0
        ? "The text differs."
        : "The text differs, as sampling may.";
  const words =
    ratio >= 1.05
      ? "as fast as plain decoding."
      : ratio > 0.95
        ? "the speed of plain decoding."
        : "the speed of plain decoding: drafting does not help here.";
  turn.prepend(
    element(
      "p",
      { class: "headline" },
      element("b", {}, ratio.toFixed(2) + " ×"),
      " " + words + " " + same,
    ),
  );
}

/* Does something with the server that can be stopped, one at a time. */
async function work(task) {
  running = new AbortController();
  const { signal } = running;
  busy(true);
  try {
    await task(signal);
  } finally {
    running = null;
    busy(false);
    $("log").scrollTop = $("log").scrollHeight;
  }
  return signal.aborted;
}

function showMessage(text) {
  $("log").append(element("div", { class: "turn user", role: "group", "aria-label": "You" }, text));
}

async function ask(text) {
  if (running || !text.trim()) return;
  welcome.remove();
  const chat = chats.current;
  chat.system = $("system").value;
  chat.title ||= text.trim().split("\n")[0].slice(0, 60);
  const messages = [...chat.messages, { role: "user", content: text }];
  showMessage(text);
  const first = new Side("Answer", drafting);
  const turn = element("div", { class: "turn answer" }, first.box);
  turn.classList.toggle("coloured", $("colours").checked);
  $("log").append(turn);
  $("log").scrollTop = $("log").scrollHeight;
  say("The answer is coming.");
  const speculation = chosenSpeculation();
  const stopped = await work(async signal => {
    await stream(first, messages, speculation, signal);
    /* One after the other: at the same time they would share the machine. */
    const both = $("compare").checked && drafting && !first.failed && !signal.aborted;
    if (both) await compare(turn, first, messages, signal);
  });
  if (first.content) {
    chat.messages = [...messages, { role: "assistant", content: first.content }];
    chats.keep();
  }
  if (first.failed) return; /* a failure is an alert */
  if (drafting && first.timings && !first.beside) offerComparison(turn, first, messages);
  say((stopped ? "The answer was stopped: " : "The answer is complete: ") + first.content);
}

function offerComparison(turn, first, messages) {
  const offer = button("Compare with plain decoding", async () => {
    if (running) return;
    offer.remove();
    await work(signal => compare(turn, first, messages, signal));
    say(turn.querySelector(".headline")?.textContent || "There is no comparison.");
  });
  first.actions.append(offer);
}

function busy(on) {
  const focused = document.activeElement;
  const homeless =
    [null, document.body, $("send"), $("stop")].includes(focused) || !focused.isConnected;
  $("send").disabled = on;
  $("stop").hidden = !on;
  $("log").setAttribute("aria-busy", String(on));
  /* The focus does not stay on what is gone. On touch screens a focused text field would open the
     keyboard. */
  const home = matchMedia("(pointer: coarse)").matches ? $("send") : $("prompt");
  if (homeless) (on ? $("stop") : home).focus();
}

function fresh() {
  if (running) running.abort();
  chats.begin();
  $("log").replaceChildren(welcome);
  say("A new chat.");
  $("prompt").focus();
}

function openChat(chat) {
  if (running) running.abort();
  chats.current = structuredClone(chat);
  $("system").value = chat.system || "";
  $("log").replaceChildren();
  for (const { role, content } of chat.messages) {
    if (role === "user") {
      showMessage(content);
      continue;
    }
    const side = new Side("Answer", false);
    side.token({ id: 0, text: content, origin: "plain" });
    side.end();
    side.actions.append(
      button("Copy", event => copy(content, event.target), { "aria-label": "Copy the answer" }),
    );
    $("log").append(element("div", { class: "turn answer" }, side.box));
  }
  chats.list();
  if ($("side").classList.contains("open")) panel(false);
  $("log").scrollTop = $("log").scrollHeight;
  say("The chat is open.");
}

function deleteChat(chat) {
  chats.remove(chat.id);
  if (chats.current.id === chat.id) fresh();
}

function panel(open) {
  $("side").classList.toggle("open", open);
  $("settings-toggle").setAttribute("aria-expanded", String(open));
  $("settings-close").hidden = !open;
  $("talk").inert = open;
  if (open) $("system").focus();
  else $("settings-toggle").focus();
}

function grow() {
  const prompt = $("prompt");
  prompt.style.height = "auto";
  prompt.style.height = Math.min(prompt.scrollHeight + 2, 160) + "px";
}

$("ask").addEventListener("submit", event => {
  event.preventDefault();
  const text = $("prompt").value;
  if (running || !text.trim()) return;
  $("prompt").value = "";
  grow();
  ask(text);
});
$("prompt").addEventListener("input", grow);
$("prompt").addEventListener("keydown", event => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    $("ask").requestSubmit();
  }
});
document.addEventListener("keydown", event => {
  if (event.key !== "Escape") return;
  if ($("side").classList.contains("open")) panel(false);
  else if (running) running.abort();
});
$("stop").addEventListener("click", () => running && running.abort());
$("fresh").addEventListener("click", fresh);
$("forget").addEventListener("click", () => {
  if (!confirm("Delete all chats in this browser?")) return;
  chats.all = [];
  chats.write();
  fresh();
});
$("settings-toggle").addEventListener("click", () => panel(!$("side").classList.contains("open")));
$("settings-close").addEventListener("click", () => panel(false));
$("colours").addEventListener("change", event =>
  document
    .querySelectorAll(".turn.answer")
    .forEach(turn => turn.classList.toggle("coloured", event.target.checked)),
);
$("key").addEventListener("change", connect);
for (const starter of STARTERS) $("starters").append(button(starter, () => ask(starter)));
chats.load();
chats.begin();
connect();
$("prompt").focus();
