/* Markdown to elements. Every piece of text is written by `emit(parent, start, end)`, with offsets
   into the source, so that the caller can mark where it came from. Nothing is read as HTML. */

const FENCE = /^ {0,3}(`{3,}|~{3,})[ \t]*([^`\s]*)[^`]*$/;
const HEADING = /^ {0,3}(#{1,6})[ \t]+/;
const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])[ \t]+/;
const RULE = /^ {0,3}([-*_])[ \t]*(?:\1[ \t]*){2,}$/;
const DIVIDER = /^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/;

class Markdown {
  constructor(source, emit) {
    this.source = source;
    this.emit = emit;
    this.lines = [];
    let start = 0;
    for (const text of source.split("\n")) {
      this.lines.push({ start, end: start + text.length, text });
      start += text.length + 1;
    }
    this.at = 0;
  }

  /* The whole text as blocks of `parent`. */
  render(parent) {
    while (this.at < this.lines.length) {
      const line = this.lines[this.at];
      const fence = FENCE.exec(line.text),
        heading = HEADING.exec(line.text);
      if (!line.text.trim()) this.at += 1;
      else if (fence) parent.append(this.code(fence));
      else if (heading) parent.append(this.heading(heading, line));
      else if (RULE.test(line.text)) {
        this.at += 1;
        parent.append(element("hr"));
      } else if (/^ {0,3}>/.test(line.text)) parent.append(this.quote());
      else if (ITEM.test(line.text)) parent.append(this.list());
      else if (this.isTable()) parent.append(this.table());
      else parent.append(this.paragraph());
    }
  }

  code([, mark, language]) {
    const ends = new RegExp("^ {0,3}" + mark[0] + "{" + mark.length + ",}[ \\t]*$");
    this.at += 1;
    const first = this.at;
    while (this.at < this.lines.length && !ends.test(this.lines[this.at].text)) this.at += 1;
    const start = first < this.lines.length ? this.lines[first].start : this.source.length;
    const end = this.at > first ? this.lines[this.at - 1].end : start;
    this.at += 1;
    const code = element("code");
    this.emit(code, start, end);
    const text = this.source.slice(start, end);
    const copied = button("Copy", () => copy(text, copied), { "aria-label": "Copy the code" });
    const head = element("div", { class: "head" }, element("span", {}, language || "code"), copied);
    const pre = element("pre", { tabindex: "0", "aria-label": (language || "") + " code" }, code);
    return element("div", { class: "block" }, head, pre);
  }

  heading([matched, marks], line) {
    this.at += 1;
    const made = element("h" + Math.min(6, marks.length + 3));
    const tail = /[ \t]+#+[ \t]*$/.exec(line.text);
    this.inline(made, line.start + matched.length, tail ? line.start + tail.index : line.end);
    return made;
  }

  quote() {
    const made = element("blockquote");
    let paragraph = null;
    while (this.at < this.lines.length) {
      const line = this.lines[this.at],
        mark = /^ {0,3}> ?/.exec(line.text);
      if (!mark) break;
      this.at += 1;
      const start = line.start + mark[0].length;
      if (start >= line.end) {
        paragraph = null;
        continue;
      }
      if (paragraph) paragraph.append("\n");
      else made.append((paragraph = element("p")));
      this.inline(paragraph, start, line.end);
    }
    return made;
  }

  list() {
    const [, indent, mark] = ITEM.exec(this.lines[this.at].text);
    const ordered = /\d/.test(mark);
    const made = element(
      ordered ? "ol" : "ul",
      ordered ? { start: String(parseInt(mark, 10)) } : {},
    );
    let item = null;
    while (this.at < this.lines.length) {
      const line = this.lines[this.at],
        found = ITEM.exec(line.text);
      if (found && found[1].length > indent.length + 1 && item) {
        item.append(this.list());
        continue;
      }
      if (found) {
        if (found[1].length < indent.length || /\d/.test(found[2]) !== ordered) break;
        this.at += 1;
        made.append((item = element("li")));
        this.inline(item, line.start + found[0].length, line.end);
        continue;
      }
      if (!line.text.trim()) {
        const next = this.lines[this.at + 1];
        if (!next || !(ITEM.test(next.text) || /^\s{2,}\S/.test(next.text))) break;
        this.at += 1;
        continue;
      }
      const deeper = /^(\s{2,})\S/.exec(line.text);
      const fence = FENCE.exec(line.text.trimStart());
      if (!deeper || !item) break;
      if (fence) {
        item.append(this.indentedCode(deeper[1].length));
        continue;
      }
      this.at += 1;
      item.append(" ");
      this.inline(item, line.start + deeper[1].length, line.end);
    }
    return made;
  }

  /* A block of code within an item: its fence and lines are indented. */
  indentedCode(indent) {
    const lines = this.lines;
    this.lines = lines.map((line, index) => {
      const cut = index < this.at ? 0 : Math.min(indent, /^\s*/.exec(line.text)[0].length);
      return { start: line.start + cut, end: line.end, text: line.text.slice(cut) };
    });
    const made = this.code(FENCE.exec(this.lines[this.at].text));
    this.lines = lines;
    return made;
  }

  isTable() {
    const next = this.lines[this.at + 1];
    return (
      this.lines[this.at].text.includes("|") &&
      next &&
      next.text.includes("-") &&
      DIVIDER.test(next.text)
    );
  }

  table() {
    const made = element("table");
    const row = (line, tag) => {
      const cells = element("tr");
      let start = line.start;
      const parts = line.text.split("|");
      parts.forEach((part, index) => {
        const edge = (index === 0 || index === parts.length - 1) && !part.trim();
        if (!edge) {
          const cell = element(tag),
            lead = part.length - part.trimStart().length;
          this.inline(cell, start + lead, start + part.trimEnd().length);
          cells.append(cell);
        }
        start += part.length + 1;
      });
      return cells;
    };
    made.append(element("thead", {}, row(this.lines[this.at], "th")));
    const body = element("tbody");
    for (
      this.at += 2;
      this.at < this.lines.length && this.lines[this.at].text.includes("|");
      this.at += 1
    )
      body.append(row(this.lines[this.at], "td"));
    made.append(body);
    return element("div", { class: "scroll", tabindex: "0" }, made);
  }

  paragraph() {
    const start = this.lines[this.at].start;
    let end = this.lines[this.at].end;
    for (this.at += 1; this.at < this.lines.length; this.at += 1) {
      const { text } = this.lines[this.at];
      if (
        !text.trim() ||
        FENCE.test(text) ||
        HEADING.test(text) ||
        ITEM.test(text) ||
        /^ {0,3}>/.test(text)
      )
        break;
      end = this.lines[this.at].end;
    }
    const made = element("p");
    this.inline(made, start, end);
    return made;
  }

  /* Code, bold, italic and links within a line or a paragraph. */
  inline(parent, start, end) {
    const text = this.source.slice(start, end);
    const mark =
      /`([^`]+)`|(\*\*|__)(?=\S)([^]+?\S)\2|\*(?=[^\s*])([^*\n]*[^\s*])\*|\[([^\]\n]+)\]\(([^()\s]+)\)/g;
    let from = 0,
      found;
    while ((found = mark.exec(text))) {
      const at = start + found.index;
      /* snake_case has no emphasis. */
      if (found[2] === "__" && /\w/.test(text[found.index - 1] || "")) continue;
      this.emit(parent, start + from, at);
      from = found.index + found[0].length;
      const [, code, , bold, italic, label, target] = found;
      if (code !== undefined) this.leaf(parent, element("code"), at + 1, code.length);
      else if (bold !== undefined) this.within(parent, element("strong"), at + 2, bold.length);
      else if (italic !== undefined) this.within(parent, element("em"), at + 1, italic.length);
      else if (/^(https?:|mailto:)/i.test(target))
        this.within(
          parent,
          element("a", { href: target, rel: "noopener noreferrer", target: "_blank" }),
          at + 1,
          label.length,
        );
      else this.emit(parent, at, start + from);
    }
    this.emit(parent, start + from, end);
  }

  leaf(parent, made, start, length) {
    this.emit(made, start, start + length);
    parent.append(made);
  }

  within(parent, made, start, length) {
    this.inline(made, start, start + length);
    parent.append(made);
  }
}
