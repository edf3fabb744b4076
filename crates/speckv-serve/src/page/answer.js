/* One answer: its text with the origin of each token, its figures, its charts. */
const WORDS = {
  accepted: "drafted and kept",
  recovered: "corrected",
  bonus: "added after a full draft",
  forced: "forced by the grammar",
  plain: "not drafted",
};

/* Parts of an answer that are shown folded: reasoning and calls of tools. */
const FOLDED = /<think>([\s\S]*?)(?:<\/think>|$)|<tool_call>([\s\S]*?)(?:<\/tool_call>|$)/g;

class Side {
  constructor(title, drafts) {
    this.name = element("span", {}, title);
    this.speed = element("span", { class: "speed" });
    this.text = element("div", { class: "text waiting" });
    this.figures = element("p", { class: "figures" });
    this.drafts = new Chart("Drafted tokens per step");
    this.rate = new Chart("Tokens per second");
    this.charts = element(
      "div",
      { class: "charts" },
      ...(drafts ? [this.drafts.figure] : []),
      this.rate.figure,
    );
    this.charts.hidden = true;
    this.list = element("ol");
    this.origins = element(
      "details",
      { class: "more origins" },
      element("summary", {}, "Where each token came from"),
      this.list,
    );
    this.origins.hidden = true;
    this.origins.addEventListener("toggle", () => this.spell());
    this.actions = element("div", { class: "actions" });
    this.box = element(
      "section",
      { class: "side", "aria-label": title },
      element("h3", {}, this.name, this.speed),
      this.text,
      this.figures,
      this.charts,
      this.origins,
      this.actions,
    );
    this.hasDrafts = drafts;
    this.steps = [];
    this.pieces = []; /* {start, end, origin}: neighbours of one origin together */
    this.spoken = []; /* tokens by step */
    this.content = "";
    this.tokens = 0;
    this.rates = [];
    this.unfolded = new Set(); /* numbers of folded parts that are open */
    this.beside = null;
    this.drawn = true;
  }

  add(chunk, log) {
    if (chunk.error) throw new Error(chunk.error.message);
    const details = chunk.speckv;
    if (details) {
      for (const token of details.tokens) this.token(token);
      this.spoken.push(details.tokens);
      this.origins.hidden = !this.hasDrafts;
      const tokens = details.tokens.filter(token => token.id !== null).length;
      this.steps.push({
        gamma: details.gamma,
        accepted: details.accepted,
        ms: details.step_ms,
        tokens,
      });
      this.later(log);
    }
    if (chunk.timings) this.timings = chunk.timings;
    const choice = chunk.choices && chunk.choices[0];
    if (choice && choice.finish_reason) this.reason = choice.finish_reason;
  }

  token({ id, text, origin }) {
    if (id !== null) this.tokens += 1;
    if (!text) return;
    const start = this.content.length,
      last = this.pieces[this.pieces.length - 1];
    this.content += text;
    if (last && last.origin === origin) last.end = this.content.length;
    else this.pieces.push({ start, end: this.content.length, origin });
  }

  /* Draws once per frame, however many steps came. */
  later(log) {
    if (!this.drawn) return;
    this.drawn = false;
    requestAnimationFrame(() => {
      if (this.drawn) return;
      const near = log.scrollHeight - log.scrollTop - log.clientHeight < 80;
      this.show();
      if (near) log.scrollTop = log.scrollHeight;
    });
  }

  show() {
    this.drawn = true;
    let next = 0;
    const emit = (parent, start, end) => {
      while (next > 0 && this.pieces[next].start > start) next -= 1;
      while (next < this.pieces.length && this.pieces[next].end <= start) next += 1;
      for (let at = start; at < end && next < this.pieces.length;) {
        const piece = this.pieces[next],
          to = Math.min(end, piece.end);
        parent.append(
          element(
            "span",
            { class: piece.origin, title: WORDS[piece.origin] || "" },
            this.content.slice(at, to),
          ),
        );
        at = to;
        if (at < end) next += 1;
      }
    };
    const shown = document.createDocumentFragment();
    let done = 0,
      number = 0;
    const plain = end => {
      const from = done,
        part = this.content.slice(from, end);
      if (part.trim())
        new Markdown(part, (parent, a, b) => emit(parent, from + a, from + b)).render(shown);
    };
    for (const found of this.content.matchAll(FOLDED)) {
      plain(found.index);
      const start = found.index + found[0].indexOf(">") + 1;
      const inside = found[1] === undefined ? found[2] : found[1];
      shown.append(
        this.fold(number++, found[1] === undefined ? "Tool call" : "Reasoning", body =>
          emit(body, start, start + inside.length),
        ),
      );
      done = found.index + found[0].length;
    }
    plain(this.content.length);
    /* Code that was scrolled sideways stays so, and a button keeps the focus, while text comes in. */
    const scrolled = [...this.text.querySelectorAll("pre")].map(pre => pre.scrollLeft);
    const focused = [...this.text.querySelectorAll("button")].indexOf(document.activeElement);
    this.text.replaceChildren(shown);
    this.text.querySelectorAll("pre").forEach((pre, index) => {
      pre.scrollLeft = scrolled[index] || 0;
    });
    if (focused >= 0) this.text.querySelectorAll("button")[focused]?.focus();
    this.spell();
    this.plot();
    if (this.beside) this.beside.plot();
  }

  /* A part that is folded until it is opened, and stays open while text comes in. */
  fold(number, title, fill) {
    const body = element("pre", { class: "folded" });
    fill(body);
    const fold = element("details", { class: "fold" }, element("summary", {}, title), body);
    fold.open = this.unfolded.has(number);
    fold.addEventListener("toggle", () =>
      fold.open ? this.unfolded.add(number) : this.unfolded.delete(number),
    );
    return fold;
  }

  plot() {
    if (this.steps.length < 2) return;
    this.charts.hidden = false;
    this.rates = ratesOf(this.steps);
    if (this.hasDrafts) plotDrafts(this.drafts, this.steps);
    plotSpeed(this.rate, this.rates, this.beside ? this.beside.rates : []);
    if (!this.timings && this.rates.length)
      this.speed.textContent = this.rates[this.rates.length - 1].rate.toFixed(1) + " tokens/s";
  }

  /* The colours in words: one line per step, neighbours of one origin together. Made when it is opened. */
  spell() {
    if (!this.origins.open) return;
    for (const tokens of this.spoken.slice(this.list.childElementCount)) {
      const parts = [];
      for (const token of tokens) {
        const last = parts[parts.length - 1];
        if (last && last.origin === token.origin) last.text += token.text;
        else parts.push({ origin: token.origin, text: token.text });
      }
      this.list.append(
        element(
          "li",
          {},
          parts.map(part => WORDS[part.origin] + " " + JSON.stringify(part.text)).join(", "),
        ),
      );
    }
  }

  end() {
    this.show();
    this.text.classList.remove("waiting");
    const timings = this.timings;
    if (!timings) return;
    const parts = [timings.predicted_n + " tokens"];
    if (timings.predicted_per_second) {
      const speed = timings.predicted_per_second.toFixed(1) + " tokens/s";
      parts.push(speed);
      this.speed.textContent = speed;
    }
    if (timings.draft_n)
      parts.push(timings.draft_n_accepted + " of " + timings.draft_n + " drafted tokens kept");
    const known = timings.cache_n ? ", " + timings.cache_n + " already known" : "";
    if (timings.forced_n) parts.push(timings.forced_n + " tokens forced by the grammar");
    parts.push(
      "prompt of " +
        timings.prompt_n +
        " tokens" +
        known +
        " read in " +
        timings.prompt_ms.toFixed(0) +
        " ms",
    );
    if (this.reason === "length") parts.push("cut at the most tokens");
    this.figures.textContent = parts.join(" · ");
    const title =
      timings.controller === "off" ? "Plain decoding" : "Drafting by " + timings.controller;
    this.name.textContent = title;
    this.box.setAttribute("aria-label", title);
    if (this.content) {
      const copied = button("Copy", () => copy(this.content, copied), {
        "aria-label": "Copy the answer",
      });
      this.actions.prepend(copied);
    }
  }

  fail(message) {
    this.failed = true;
    this.text.classList.remove("waiting");
    this.text.append(element("p", { class: "error", role: "alert" }, message));
  }
}
