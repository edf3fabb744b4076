"use strict";
/* What all parts of the page use. */
const $ = id => document.getElementById(id);

function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function button(text, action, attributes) {
  const made = element("button", { type: "button", class: "small", ...attributes }, text);
  made.addEventListener("click", action);
  return made;
}

/* What a screen reader says. */
function say(text) {
  $("status").textContent = text;
}

async function copy(text, button) {
  try {
    if (navigator.clipboard) await navigator.clipboard.writeText(text);
    else copyBySelection(text);
    button.textContent = "Copied";
    say("Copied.");
  } catch {
    button.textContent = "Not copied";
    say("The browser did not allow copying.");
  }
  setTimeout(() => {
    button.textContent = "Copy";
  }, 1500);
}

/* Browsers have no clipboard for pages without TLS that are not on localhost. */
function copyBySelection(text) {
  const area = element("textarea", { class: "hidden", "aria-hidden": "true" });
  area.value = text;
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  if (!done) throw new Error("not copied");
}

const number = id => {
  const text = $(id).value.trim();
  return text === "" ? undefined : Number(text);
};
