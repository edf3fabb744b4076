// Drives the playground page in a real headless Chromium: SPECKV_URL says where it is,
// SPECKV_API_KEY its key if it asks for one, CHROMIUM the browser's program, SCREENSHOTS a folder
// for pictures. SPECKV_PLAIN_URL, if set, is a server without a draft.
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const url = (process.env.SPECKV_URL || "http://127.0.0.1:8080").replace(/\/$/, "");
const key = process.env.SPECKV_API_KEY || "";
const pictures = process.env.SCREENSHOTS || join(tmpdir(), "speckv-screenshots");
mkdirSync(pictures, { recursive: true });
const profile = mkdtempSync(join(tmpdir(), "speckv-chromium-"));
const CODE = "Write a Python function that merges two sorted lists.";

const context = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
  headless: true,
  args: [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
  viewport: { width: 1280, height: 860 },
});
const complaints = [];
const foreign = [];
context.on("request", request => {
  if (
    ![url, process.env.SPECKV_PLAIN_URL || url].some(known => request.url().startsWith(known)) &&
    !request.url().startsWith("data:")
  )
    foreign.push(request.url());
});

async function open(page) {
  page.on("console", message => {
    if (message.type() === "error") complaints.push(message.text());
  });
  page.on("pageerror", error => complaints.push(String(error)));
  await page.goto(url + "/");
}

async function enterKey(page) {
  if (!key) return;
  await page.getByLabel("API key").fill(key);
  await page.getByLabel("API key").press("Tab");
}

const ready = page =>
  page.waitForFunction(() => document.getElementById("model").textContent.includes("tokens"));
const complete = page =>
  page.waitForFunction(() => !document.getElementById("send").disabled, null, { timeout: 120000 });
const wide = page => page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);

const focused = page => page.evaluate(() => document.activeElement.id);

/* Contrast of every visible text as WCAG 2 defines it; 4.5 is its level AA. Backgrounds that are
   partly transparent are mixed with those behind. */
async function readable(page, what) {
  const poor = await page.evaluate(() => {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const parse = colour => {
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = colour;
      canvas.fillRect(0, 0, 1, 1);
      const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
      return [r, g, b, a / 255];
    };
    const over = ([r, g, b, a], [x, y, z]) => [
      r * a + x * (1 - a),
      g * a + y * (1 - a),
      b * a + z * (1 - a),
      1,
    ];
    const ground = node => {
      const layers = [];
      for (; node; node = node.parentElement) {
        const colour = parse(getComputedStyle(node).backgroundColor);
        if (colour[3] > 0) layers.push(colour);
        if (colour[3] === 1) break;
      }
      return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255, 1]);
    };
    const luminance = colour => {
      const [r, g, b] = colour.map(x => {
        const s = x / 255;
        return s <= 0.04045 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4;
      });
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const contrast = (one, other) => {
      const [a, b] = [luminance(one), luminance(other)].sort((x, y) => y - x);
      return (a + 0.05) / (b + 0.05);
    };
    const found = new Set();
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const node = walker.currentNode.parentElement;
      if (
        !walker.currentNode.textContent.trim() ||
        !node.checkVisibility() ||
        ["SCRIPT", "STYLE", "OPTION"].includes(node.tagName)
      )
        continue;
      const style = getComputedStyle(node),
        behind = ground(node);
      const ink = node instanceof SVGElement ? style.fill : style.color;
      const got = contrast(over(parse(ink), behind), behind);
      if (got < 4.5)
        found.add(
          (node.className.baseVal ?? node.className ?? "") +
            " " +
            node.tagName +
            " " +
            got.toFixed(2),
        );
    }
    for (const field of document.querySelectorAll("input, textarea")) {
      if (!field.checkVisibility() || !field.placeholder) continue;
      const behind = ground(field),
        got = contrast(over(parse(getComputedStyle(field, "::placeholder").color), behind), behind);
      if (got < 4.5) found.add("placeholder of " + field.id + " " + got.toFixed(2));
    }
    return [...found];
  });
  assert.deepEqual(poor, [], what + ": all text can be read");
}

/* The text of an answer as the page shows it is that of the API, without the marks of Markdown. */
const bare = text =>
  text
    .replace(/^ {0,3}(```|~~~).*$/gm, "")
    .replace(/^\s*([-*+]|\d+[.)])\s+/gm, "")
    .replace(/[`*_#>|\s]/g, "");

const shown = page =>
  page
    .locator(".turn.answer .text")
    .last()
    .evaluate(text => {
      const copy = text.cloneNode(true);
      copy.querySelectorAll(".head").forEach(head => head.remove());
      return copy.textContent;
    });

async function send(page, text) {
  await page.getByRole("textbox", { name: "Your message" }).fill(text);
  await page.keyboard.press("Enter");
  await page
    .locator(".turn.answer")
    .last()
    .locator(".text span")
    .first()
    .waitFor({ timeout: 60000 });
}

async function answer(body) {
  const reply = await fetch(url + "/v1/chat/completions", {
    method: "POST",
    headers: {
      "Content-Type": "application/json",
      ...(key ? { Authorization: "Bearer " + key } : {}),
    },
    body: JSON.stringify(body),
  });
  return (await reply.json()).choices[0].message.content;
}

async function desktop() {
  const page = await context.newPage();
  await open(page);
  if (key) {
    await page.waitForFunction(() =>
      document.getElementById("model").textContent.includes("API key"),
    );
    complaints.length = 0; // the browser reports the 401 that was meant
    await enterKey(page);
  }
  await ready(page);
  await page.screenshot({ path: join(pictures, "desktop-empty.png") });
  await readable(page, "the empty page");
  const card = (
    await (
      await fetch(url + "/v1/models", { headers: key ? { Authorization: "Bearer " + key } : {} })
    ).json()
  ).data[0];
  assert.deepEqual(
    await page.locator("#draft option").allTextContents(),
    ["automatic", ...card.drafters],
    "only drafters that the server has are offered",
  );
  assert.deepEqual(
    (await page.locator("#controller option").allTextContents()).slice(1),
    card.controllers,
    "only controllers that can act are offered",
  );

  // An answer: its text, the origin of its tokens, figures, charts with numbers at their axes.
  await page.getByLabel("Most tokens").fill("160");
  await page.locator("#controller").selectOption("fixed");
  await send(page, CODE);
  await complete(page);
  const expected = await answer({
    messages: [{ role: "user", content: CODE }],
    temperature: 0,
    max_tokens: 160,
  });
  assert.equal(bare(await shown(page)), bare(expected), "the page shows what the API says");
  const accepted = page.locator(".turn.answer .text span.accepted");
  assert.ok((await accepted.count()) > 3, "some tokens were drafted and accepted");
  const ground = span => span.evaluate(span => getComputedStyle(span).backgroundColor);
  assert.notEqual(
    await ground(accepted.first()),
    "rgba(0, 0, 0, 0)",
    "accepted tokens are coloured",
  );
  assert.ok((await page.locator(".charts svg rect.kept").count()) > 3, "drafts per step are drawn");
  assert.ok(
    (await page.locator(".charts svg polyline").count()) >= 1,
    "tokens per second are drawn",
  );
  for (const chart of await page.locator(".charts svg").all()) {
    const numbers = (await chart.locator("text").allTextContents()).map(text => parseFloat(text));
    assert.ok(
      numbers.length >= 5 && numbers.every(Number.isFinite),
      "the axes have numbers: " + numbers,
    );
    assert.ok(
      numbers[0] === 0 && numbers[2] > numbers[1] && numbers[1] > 0,
      "and go up: " + numbers,
    );
  }
  const figures = await page.locator(".figures").first().textContent();
  assert.match(figures, /tokens\/s .* drafted tokens kept/);
  assert.match(
    await page.locator("#status").textContent(),
    /complete/,
    "screen readers hear that it is complete",
  );
  await page.locator(".origins summary").first().focus();
  await page.keyboard.press("Enter");
  // The browser tells of the opening a moment later.
  await page.locator(".origins li").first().waitFor();
  const spelled = await page.locator(".origins li").allTextContents();
  assert.ok(
    spelled.length > 3 &&
      spelled.some(line =>
        /^drafted and kept ".*", (corrected|added after a full draft) "/.test(line),
      ),
    "each token's origin can be read without colours: " + spelled[0],
  );
  await page.locator(".origins summary").first().press("Enter");
  assert.ok(
    await page.getByRole("group", { name: "You" }).isVisible(),
    "who speaks has a name that is read",
  );
  await page.screenshot({ path: join(pictures, "desktop-answer.png") });
  await page.getByLabel("Colour tokens by their origin").uncheck();
  assert.equal(await ground(accepted.first()), "rgba(0, 0, 0, 0)");
  await page.getByLabel("Colour tokens by their origin").check();

  // The ratio against plain decoding, for one answer by a button and for each by a setting.
  await page.getByRole("button", { name: "Compare with plain decoding" }).click();
  await page.locator(".headline").waitFor({ timeout: 120000 });
  await complete(page);
  assert.match(
    await page.locator(".headline").textContent(),
    /^\d+\.\d\d × .*plain decoding.* The text is the same\./,
  );
  await page.locator("#gamma").fill("6");
  await page.getByLabel("Compare each answer").check();
  await send(page, "Explain the code line by line.");
  await page.locator(".turn.answer").nth(1).locator(".headline").waitFor({ timeout: 120000 });
  await complete(page);
  const sides = page.locator(".turn.answer").nth(1).locator(".side");
  assert.equal(await sides.count(), 2);
  assert.match(await sides.nth(0).locator("h3").textContent(), /fixed-6/);
  assert.match(await sides.nth(1).locator("h3").textContent(), /Plain decoding/);
  assert.ok((await wide(page)) <= 0, "nothing is wider than the window");
  const tops = await sides.locator("figure:last-child svg text:nth-of-type(3)").allTextContents();
  assert.ok(
    tops.length === 2 && tops[0] === tops[1],
    "both sides have one scale of tokens per second: " + tops,
  );
  await page.screenshot({ path: join(pictures, "desktop-comparison.png") });
  await readable(page, "light");
  await page.emulateMedia({ colorScheme: "dark" });
  await readable(page, "dark");
  await page.screenshot({ path: join(pictures, "desktop-dark.png") });
  await page.emulateMedia({ colorScheme: "light" });

  await page.locator("#gamma").fill("999");
  await page.getByLabel("Compare each answer").uncheck();
  await page.getByRole("textbox", { name: "Your message" }).fill("Too far?");
  await page.keyboard.press("Enter");
  await page.getByRole("alert").waitFor();
  assert.match(await page.getByRole("alert").textContent(), /gamma from 1 to 64/);
  complaints.length = 0; // the 400 that was meant

  await page.getByRole("button", { name: "New chat" }).click();
  assert.equal(await page.locator(".turn").count(), 0);
  assert.ok(await page.locator("#welcome").isVisible(), "a new chat begins as the first did");
  if (key) assert.equal(await page.getByLabel("API key").inputValue(), key, "and keeps the key");
  await page.locator("#gamma").fill("");
  await page.getByLabel("Most tokens").fill("12");
  await page.getByRole("button", { name: /sky blue/ }).click();
  assert.equal(
    await focused(page),
    "stop",
    "a prompt that has gone leaves the focus to the button that stops",
  );
  await complete(page);
  assert.equal(await focused(page), "prompt", "and then to the next message");
  await page.close();
}

/* Chats stay in the browser, with their system prompt, and are opened and deleted. */
async function stored() {
  const page = await context.newPage();
  await open(page);
  await enterKey(page);
  await ready(page);
  complaints.length = 0;
  await page.getByRole("button", { name: "Delete all" }).evaluate(button => {
    window.confirm = () => true;
    button.click();
  });
  await page.getByLabel("Most tokens").fill("20");
  await page.getByLabel("System prompt").fill("Answer in one word.");
  const asked = page.waitForRequest(request => request.url().endsWith("/v1/chat/completions"));
  await send(page, "Name a colour.");
  const { messages } = (await asked).postDataJSON();
  assert.deepEqual(messages, [
    { role: "system", content: "Answer in one word." },
    { role: "user", content: "Name a colour." },
  ]);
  await complete(page);
  await page.reload();
  await enterKey(page);
  await ready(page);
  complaints.length = 0;
  assert.equal(await page.locator(".turn").count(), 0);
  await page.getByRole("button", { name: "Name a colour.", exact: true }).click();
  assert.equal(await page.locator(".turn.user").textContent(), "Name a colour.");
  assert.ok(
    (await page.locator(".turn.answer .text").textContent()).trim(),
    "the answer is shown again",
  );
  assert.equal(await page.getByLabel("System prompt").inputValue(), "Answer in one word.");
  const next = page.waitForRequest(request => request.url().endsWith("/v1/chat/completions"));
  await page.getByLabel("Most tokens").fill("8");
  await send(page, "Another one.");
  assert.equal((await next).postDataJSON().messages.length, 4, "the chat goes on");
  await complete(page);
  await page.getByRole("button", { name: "Delete the chat Name a colour." }).click();
  assert.equal(await page.locator("#chats li").count(), 0);
  assert.equal(await page.locator(".turn").count(), 0);
  await page.close();
}

/* Markdown as the page makes it of a text that came token by token. */
async function markdown() {
  const page = await context.newPage();
  await open(page);
  await ready(page).catch(() => {});
  complaints.length = 0;
  const long = "x = " + "1 + ".repeat(200) + "1";
  const source = [
    "# Title",
    "",
    "Some **bold**, *italic*, `code_x` and snake_case_name, [a link](https://example.com), [bad](javascript:alert(1)) <b>no HTML</b>.",
    "",
    "1. one",
    "2. two",
    "   - inner **deep**",
    "   ```sh",
    "   ls -l",
    "   ```",
    "",
    "| a | b |",
    "|---|:-:|",
    "| 1 | `2` |",
    "",
    "> quoted",
    "",
    "```python",
    "def f():",
    "    return 1",
    "",
    long,
    "```",
    "",
    "---",
    "An open fence:",
    "```js",
    "let y",
  ].join("\n");
  const made = await page.evaluate(source => {
    const side = new Side("Answer", true);
    for (let at = 0; at < source.length; at += 3)
      side.token({ id: 1, text: source.slice(at, at + 3), origin: at % 2 ? "accepted" : "bonus" });
    side.end();
    document.getElementById("log").replaceChildren(side.box);
    const all = selector => [...side.text.querySelectorAll(selector)].map(node => node.textContent);
    return {
      heads: all("h4"),
      strong: all("strong"),
      em: all("em"),
      inline: all(":not(pre) > code"),
      code: all("pre code"),
      items: side.text.querySelectorAll("ol > li").length,
      nested: side.text.querySelectorAll("ol li ul li").length,
      cells: all("td"),
      quoted: all("blockquote"),
      links: [...side.text.querySelectorAll("a")].map(a => a.href),
      html: side.text.querySelectorAll("b, script").length,
      text: side.text.textContent,
      rules: side.text.querySelectorAll("hr").length,
      languages: all(".head span"),
    };
  }, source);
  assert.deepEqual(made.heads, ["Title"]);
  assert.deepEqual(made.strong, ["bold", "deep"]);
  assert.deepEqual(made.em, ["italic"]);
  assert.deepEqual(made.inline, ["code_x", "2"]);
  assert.deepEqual(
    made.code,
    ["ls -l", "def f():\n    return 1\n\n" + long, "let y"],
    "code is whole, with its line ends and indents",
  );
  assert.deepEqual(made.languages, ["sh", "python", "js"]);
  assert.deepEqual([made.items, made.nested, made.cells, made.rules], [2, 1, ["1", "2"], 1]);
  assert.equal(made.quoted[0].trim(), "quoted");
  assert.deepEqual(made.links, ["https://example.com/"], "other targets are no links");
  assert.equal(made.html, 0);
  assert.ok(made.text.includes("snake_case_name") && made.text.includes("<b>no HTML</b>"));
  await context.grantPermissions(["clipboard-read", "clipboard-write"], { origin: url });
  await page.getByRole("button", { name: "Copy the code" }).nth(1).click();
  await page.waitForFunction(() => document.getElementById("status").textContent === "Copied.");
  assert.equal(
    await page.evaluate(() => navigator.clipboard.readText()),
    "def f():\n    return 1\n\n" + long,
  );
  await page.setViewportSize({ width: 390, height: 844 });
  assert.ok((await wide(page)) <= 0, "long code is not wider than the phone");
  const pre = page.locator("pre").nth(1);
  assert.ok(
    await pre.evaluate(
      pre => pre.scrollWidth > pre.clientWidth + 100 && getComputedStyle(pre).overflowX === "auto",
    ),
    "it scrolls",
  );
  await pre.evaluate(pre => {
    pre.scrollLeft = 150;
  });
  assert.equal(await pre.evaluate(pre => pre.scrollLeft), 150);
  await readable(page, "Markdown");
  await page.emulateMedia({ colorScheme: "dark" });
  await readable(page, "Markdown, dark");
  await page.screenshot({ path: join(pictures, "phone-markdown-dark.png") });
  await page.emulateMedia({ colorScheme: "light" });
  await page.screenshot({ path: join(pictures, "phone-markdown.png") });
  await page.close();
}

/* A server without a draft says so and offers nothing that cannot act. */
async function plain() {
  const address = process.env.SPECKV_PLAIN_URL?.replace(/\/$/, "");
  if (!address) return;
  for (const [width, name] of [
    [1280, "plain-desktop"],
    [390, "plain-phone"],
  ]) {
    const page = await context.newPage();
    await page.setViewportSize({ width, height: 844 });
    page.on("pageerror", error => complaints.push(String(error)));
    await page.goto(address + "/");
    await page.getByLabel("API key").evaluate((field, key) => {
      field.value = key;
      field.dispatchEvent(new Event("change"));
    }, key);
    await page.waitForFunction(() =>
      document.getElementById("model").textContent.includes("no draft"),
    );
    assert.ok(await page.getByText("This server has no draft").isVisible());
    for (const id of ["controller", "gamma", "draft", "compare", "colours"])
      assert.ok(!(await page.locator("#" + id).isVisible()), id + " is not offered");
    await page.locator("#max-tokens").evaluate(field => {
      field.value = 40;
    });
    await send(page, "List the numbers from one to ten in words.");
    await complete(page);
    assert.equal(
      await page.locator(".headline, .origins:visible").count(),
      0,
      "there is nothing to compare",
    );
    assert.equal(
      await page.getByRole("button", { name: "Compare with plain decoding" }).count(),
      0,
    );
    assert.equal(await page.locator(".charts figure").count(), 1, "speed only");
    await readable(page, name);
    await page.emulateMedia({ colorScheme: "dark" });
    await readable(page, name + ", dark");
    await page.screenshot({ path: join(pictures, name + "-dark.png") });
    await page.emulateMedia({ colorScheme: "light" });
    await page.screenshot({ path: join(pictures, name + ".png") });
    await page.close();
  }
  complaints.length = 0; // the browser reports the 401 before the key
}

async function phone() {
  const page = await context.newPage();
  await page.setViewportSize({ width: 390, height: 844 });
  await open(page);
  complaints.length = 0;
  if (key) {
    await page.getByRole("button", { name: "Settings" }).click();
    await enterKey(page);
  } else await page.getByRole("button", { name: "Settings" }).click();
  await ready(page);
  complaints.length = 0;
  await page.getByLabel("Most tokens").fill("60");
  assert.equal(
    await page.getByRole("button", { name: "Settings" }).getAttribute("aria-expanded"),
    "true",
  );
  assert.ok(
    await page.locator("#talk").evaluate(talk => talk.inert),
    "what is covered cannot have the focus",
  );
  assert.ok((await wide(page)) <= 0);
  await page.screenshot({ path: join(pictures, "phone-settings.png") });
  await page.keyboard.press("Escape");
  assert.equal(
    await page.getByRole("button", { name: "Settings" }).getAttribute("aria-expanded"),
    "false",
  );
  await page.screenshot({ path: join(pictures, "phone-empty.png") });
  await page.getByRole("textbox", { name: "Your message" }).fill(CODE);
  await page.getByRole("button", { name: "Send" }).click();
  await page.locator(".turn.answer .text span.accepted").first().waitFor({ timeout: 60000 });
  await complete(page);
  assert.ok((await wide(page)) <= 0, "nothing is wider than the phone");
  for (const button of await page.locator("header button, form button:visible").all()) {
    const box = await button.boundingBox();
    assert.ok(
      box && box.height >= 30 && box.x >= 0 && box.x + box.width <= 390,
      "buttons can be touched",
    );
  }
  await page.screenshot({ path: join(pictures, "phone-answer.png") });
  await readable(page, "phone");
  await page.emulateMedia({ colorScheme: "dark" });
  await readable(page, "phone, dark");
  await page.screenshot({ path: join(pictures, "phone-dark.png") });
  await page.close();
}

async function keyboard() {
  const page = await context.newPage();
  await open(page);
  await enterKey(page);
  await ready(page);
  complaints.length = 0;
  await page.getByLabel("Most tokens").fill("2000");
  await page.getByRole("textbox", { name: "Your message" }).focus();
  await page.keyboard.type("Write a very long story about a river.");
  await page.keyboard.press("Shift+Enter");
  await page.keyboard.type("Begin at its source.");
  assert.match(
    await page.getByRole("textbox", { name: "Your message" }).inputValue(),
    /river\.\nBegin/,
  );
  await page.keyboard.press("Enter");
  await page.waitForFunction(
    () => document.querySelector(".turn.answer .text").textContent.length > 60,
    null,
    { timeout: 60000 },
  );
  await page.keyboard.press("Escape");
  await complete(page);
  assert.match(await page.locator(".figures").first().textContent(), /stopped after \d+ tokens/);
  assert.match(
    await page.locator("#status").textContent(),
    /stopped/,
    "screen readers hear that it was stopped",
  );
  // Every control is reached by Tab and shows it, and has a name.
  const reached = new Set();
  await page.evaluate(() => {
    document.activeElement.blur();
  });
  for (let press = 0; press < 60; press++) {
    await page.keyboard.press("Tab");
    const [id, outlined] = await page.evaluate(() => {
      const focused = document.activeElement;
      return [
        focused.id || focused.className || focused.tagName,
        getComputedStyle(focused).outlineStyle !== "none",
      ];
    });
    if (id === "BODY") continue;
    assert.ok(outlined, `${id} shows that it has the focus`);
    reached.add(id);
  }
  for (const id of [
    "fresh",
    "log",
    "prompt",
    "system",
    "forget",
    "send",
    "controller",
    "gamma",
    "draft",
    "compare",
    "colours",
    "temperature",
    "top-p",
    "top-k",
    "seed",
    "max-tokens",
    "key",
  ])
    assert.ok(reached.has(id), `${id} is reached by keyboard; reached were ${[...reached]}`);
  const nameless = await page.evaluate(() =>
    [...document.querySelectorAll("input, select, textarea, button")]
      .filter(
        control =>
          !(control.labels && control.labels.length) &&
          !control.getAttribute("aria-label") &&
          !control.textContent.trim(),
      )
      .map(control => control.id),
  );
  assert.deepEqual(nameless, [], "every control has a name");
  await page.close();
}

try {
  await markdown();
  await desktop();
  await phone();
  await stored();
  await keyboard();
  await plain();
  assert.deepEqual(foreign, [], "nothing is loaded from elsewhere");
  assert.deepEqual(complaints, [], "the page reports no errors");
  console.log(`the page works; pictures are in ${pictures}`);
} finally {
  await context.close();
  rmSync(profile, { recursive: true, force: true });
}
