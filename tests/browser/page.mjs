// Drives the playground page in a real headless Chromium: SPECKV_URL says where it is, SPECKV_API_KEY its key if it asks for one,
// CHROMIUM the browser's program, SCREENSHOTS a folder for pictures.
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
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  viewport: { width: 1280, height: 860 },
});
const complaints = [];
const foreign = [];
context.on("request", request => { if (!request.url().startsWith(url) && !request.url().startsWith("data:")) foreign.push(request.url()); });

async function open(page) {
  page.on("console", message => { if (message.type() === "error") complaints.push(message.text()); });
  page.on("pageerror", error => complaints.push(String(error)));
  await page.goto(url + "/");
}

async function enterKey(page) {
  if (!key) return;
  await page.getByLabel("API key").fill(key);
  await page.getByLabel("API key").press("Tab");
}

const ready = page => page.waitForFunction(() => document.getElementById("model").textContent.includes("tokens"));
const complete = page => page.waitForFunction(() => !document.getElementById("send").disabled, null, { timeout: 120000 });
const wide = page => page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);

const focused = page => page.evaluate(() => document.activeElement.id);

/* Contrast of text as WCAG 2 defines it; 4.5 is its level AA. */
async function readable(page, scheme) {
  const poor = await page.evaluate(() => {
    const parts = colour => (colour.match(/[\d.]+/g) || []).map(Number);
    const luminance = colour => {
      const [r, g, b] = parts(colour).slice(0, 3).map(x => { const s = x / 255; return s <= 0.04045 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4; });
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ground = node => {
      for (; node; node = node.parentElement) {
        const colour = getComputedStyle(node).backgroundColor, [, , , alpha = 1] = parts(colour);
        if (alpha > 0) return colour;
      }
      return "rgb(255, 255, 255)";
    };
    const found = [];
    for (const selector of [".accepted", ".recovered", ".bonus", ".plain", ".figures", "figcaption", ".turn.user", "h3", "legend", "label", "#model", "#send", "#fresh"]) {
      const node = document.querySelector(selector);
      if (!node) continue;
      const [a, b] = [luminance(getComputedStyle(node).color), luminance(ground(node))].sort((x, y) => y - x);
      const contrast = (a + 0.05) / (b + 0.05);
      if (contrast < 4.5) found.push(selector + " " + contrast.toFixed(2));
    }
    return found;
  });
  assert.deepEqual(poor, [], scheme + ": text can be read");
}

async function answer(body) {
  const reply = await fetch(url + "/v1/chat/completions", {
    method: "POST",
    headers: { "Content-Type": "application/json", ...(key ? { Authorization: "Bearer " + key } : {}) },
    body: JSON.stringify(body),
  });
  return (await reply.json()).choices[0].message.content;
}

async function desktop() {
  const page = await context.newPage();
  await open(page);
  if (key) {
    await page.waitForFunction(() => document.getElementById("model").textContent.includes("API key"));
    complaints.length = 0; // the browser reports the 401 that was meant
    await enterKey(page);
  }
  await ready(page);
  await page.screenshot({ path: join(pictures, "desktop-empty.png") });
  await page.getByLabel("Most tokens").fill("120");
  await page.locator("#controller").selectOption("fixed");
  await page.getByRole("textbox", { name: "Your message" }).fill(CODE);
  await page.keyboard.press("Enter");
  await page.locator(".turn.answer .text span").first().waitFor({ timeout: 60000 });
  await complete(page);
  const said = await page.locator(".turn.answer .text").first().evaluate(text => [...text.querySelectorAll("span")].map(span => span.textContent).join(""));
  const expected = await answer({ messages: [{ role: "user", content: CODE }], temperature: 0, max_tokens: 120 });
  assert.equal(said, expected, "the page shows what the API says");
  const accepted = page.locator(".turn.answer .text span.accepted");
  assert.ok((await accepted.count()) > 3, "some tokens were drafted and accepted");
  const colour = await accepted.first().evaluate(span => getComputedStyle(span).backgroundColor);
  assert.notEqual(colour, "rgba(0, 0, 0, 0)", "accepted tokens are coloured");
  assert.ok((await page.locator(".charts svg rect.kept").count()) > 3, "gamma over time is drawn");
  assert.ok((await page.locator(".charts svg polyline").count()) >= 1, "tokens per second are drawn");
  assert.match(await page.locator(".figures").first().textContent(), /tokens\/s .* drafted accepted/);
  assert.match(await page.locator("#status").textContent(), /complete/, "screen readers hear that it is complete");
  assert.match(await page.locator(".figures").first().textContent(), /\d+ accepted, .*\d+ (recovered|bonus|plain)/, "origins are counted in words");
  await page.locator(".origins summary").first().focus();
  await page.keyboard.press("Enter");
  await page.locator(".origins li").first().waitFor(); // the browser tells of the opening a moment later
  const spelled = await page.locator(".origins li").allTextContents();
  assert.ok(spelled.length > 3 && spelled.some(line => /^accepted ".*", (recovered|bonus) "/.test(line)), "each token's origin can be read without colours: " + spelled[0]);
  await page.locator(".origins summary").first().press("Enter");
  const card = (await (await fetch(url + "/v1/models", { headers: key ? { Authorization: "Bearer " + key } : {} })).json()).data[0];
  assert.deepEqual(await page.locator("#draft option").allTextContents(), ["server's", ...card.drafters], "only drafters that the server has are offered");
  assert.ok(await page.getByRole("group", { name: "You" }).isVisible(), "who speaks has a name that is read");
  await page.screenshot({ path: join(pictures, "desktop-answer.png") });

  await page.getByLabel("Colour tokens").uncheck();
  assert.equal(await accepted.first().evaluate(span => getComputedStyle(span).backgroundColor), "rgba(0, 0, 0, 0)");
  await page.getByLabel("Colour tokens").check();

  await page.locator("#controller").selectOption("fixed");
  await page.locator("#gamma").fill("6");
  await page.getByLabel("Compare with off").check();
  await page.getByRole("textbox", { name: "Your message" }).fill("Explain the code line by line.");
  await page.getByRole("button", { name: "Send" }).click();
  await page.locator(".comparison").waitFor({ timeout: 120000 });
  await complete(page);
  const sides = page.locator(".turn.answer.pair .side");
  assert.equal(await sides.count(), 2);
  assert.match(await page.locator(".comparison").textContent(), /x the tokens per second, the same text/);
  assert.match(await sides.nth(0).locator("h3").textContent(), /fixed-6/);
  assert.match(await sides.nth(1).locator("h3").textContent(), /off/);
  assert.ok((await wide(page)) <= 0, "nothing is wider than the window");
  const scales = await page.locator(".pair .charts figure:nth-child(2) figcaption").allTextContents();
  assert.equal(scales.length, 2);
  assert.equal(scales[0], scales[1], "both sides have one scale of tokens per second");
  assert.ok((await page.locator(".text span.code").count()) > 3, "code has a font of its own");
  await page.screenshot({ path: join(pictures, "desktop-comparison.png") });
  await readable(page, "light");
  await page.emulateMedia({ colorScheme: "dark" });
  await readable(page, "dark");
  await page.screenshot({ path: join(pictures, "desktop-dark.png") });
  await page.emulateMedia({ colorScheme: "light" });

  await page.locator("#gamma").fill("999");
  await page.getByLabel("Compare with off").uncheck();
  await page.getByRole("textbox", { name: "Your message" }).fill("Too far?");
  await page.keyboard.press("Enter");
  await page.getByRole("alert").waitFor();
  assert.match(await page.getByRole("alert").textContent(), /gamma from 1 to 64/);
  complaints.length = 0; // the 400 that was meant

  await page.getByRole("button", { name: "New chat" }).click();
  assert.equal(await page.locator(".turn").count(), 0);
  assert.ok(await page.locator("#welcome").isVisible(), "a new chat begins as the first did");
  if (key) assert.equal(await page.getByLabel("API key").inputValue(), key, "and keeps the key");
  await page.getByLabel("Compare with off").uncheck();
  await page.locator("#gamma").fill("");
  await page.getByLabel("Most tokens").fill("12");
  await page.getByRole("button", { name: /sky blue/ }).click();
  assert.equal(await focused(page), "stop", "a prompt that has gone leaves the focus to the button that stops");
  await complete(page);
  assert.equal(await focused(page), "prompt", "and then to the next message");
  await page.close();
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
  assert.equal(await page.getByRole("button", { name: "Settings" }).getAttribute("aria-expanded"), "true");
  assert.ok(await page.locator("#talk").evaluate(talk => talk.inert), "what is covered cannot have the focus");
  assert.ok((await wide(page)) <= 0);
  await page.screenshot({ path: join(pictures, "phone-settings.png") });
  await page.keyboard.press("Escape");
  assert.equal(await page.getByRole("button", { name: "Settings" }).getAttribute("aria-expanded"), "false");
  await page.screenshot({ path: join(pictures, "phone-empty.png") });
  await page.getByRole("textbox", { name: "Your message" }).fill(CODE);
  await page.getByRole("button", { name: "Send" }).click();
  await page.locator(".turn.answer .text span.accepted").first().waitFor({ timeout: 60000 });
  await complete(page);
  assert.ok((await wide(page)) <= 0, "nothing is wider than the phone");
  for (const button of await page.locator("header button, form button:visible").all()) {
    const box = await button.boundingBox();
    assert.ok(box && box.height >= 30 && box.x >= 0 && box.x + box.width <= 390, "buttons can be touched");
  }
  await page.screenshot({ path: join(pictures, "phone-answer.png") });
  await page.emulateMedia({ colorScheme: "dark" });
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
  assert.match(await page.getByRole("textbox", { name: "Your message" }).inputValue(), /river\.\nBegin/);
  await page.keyboard.press("Enter");
  await page.locator(".turn.answer .text span").nth(5).waitFor({ timeout: 60000 });
  await page.keyboard.press("Escape");
  await complete(page);
  assert.match(await page.locator(".figures").first().textContent(), /stopped after \d+ tokens/);
  assert.match(await page.locator("#status").textContent(), /stopped/, "screen readers hear that it was stopped");
  // Every control is reached by Tab and shows it, and has a name.
  const reached = new Set();
  await page.evaluate(() => { document.activeElement.blur(); });
  for (let press = 0; press < 40; press++) {
    await page.keyboard.press("Tab");
    const [id, outlined] = await page.evaluate(() => {
      const focused = document.activeElement;
      return [focused.id || focused.className || focused.tagName, getComputedStyle(focused).outlineStyle !== "none"];
    });
    if (id === "BODY") continue;
    assert.ok(outlined, `${id} shows that it has the focus`);
    reached.add(id);
  }
  for (const id of ["fresh", "log", "prompt", "send", "controller", "gamma", "draft", "compare", "colours", "temperature", "top-p", "top-k", "seed", "max-tokens", "key"])
    assert.ok(reached.has(id), `${id} is reached by keyboard; reached were ${[...reached]}`);
  const nameless = await page.evaluate(() => [...document.querySelectorAll("input, select, textarea, button")]
    .filter(control => !(control.labels && control.labels.length) && !control.getAttribute("aria-label") && !control.textContent.trim())
    .map(control => control.id));
  assert.deepEqual(nameless, [], "every control has a name");
  await page.close();
}

try {
  await desktop();
  await phone();
  await keyboard();
  assert.deepEqual(foreign, [], "nothing is loaded from elsewhere");
  assert.deepEqual(complaints, [], "the page reports no errors");
  console.log(`the page works; pictures are in ${pictures}`);
} finally {
  await context.close();
  rmSync(profile, { recursive: true, force: true });
}
