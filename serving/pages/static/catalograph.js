// Keys that press buttons, dialogs, messages that go, and where the focus is after a part of a page
// was replaced. Everything here only helps: pages work without it.
"use strict";

const SHOWN_MILLISECONDS = 12000;
const STORED = "catalograph-keys";

const isTyping = (element) =>
  element.closest("input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]") !== null;

function usesKeys() {
  try {
    return localStorage.getItem(STORED) !== "off";
  } catch {
    return true;
  }
}

// The last one is pressed: of several messages, the newest.
function pressed(key) {
  const found = [...document.querySelectorAll("[data-key]")].filter(
    (each) => each.dataset.key === key && !each.disabled && each.checkVisibility()
  );
  return found.at(-1);
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
  if (event.key === "Escape") {
    if (isTyping(event.target)) {
      event.target.blur();
      const part = event.target.closest("[data-leaves]");
      if (part) document.getElementById(part.dataset.leaves)?.focus();
    } else {
      document.querySelector("#toasts > :last-child")?.remove();
    }
    return;
  }
  if (isTyping(event.target) || !usesKeys()) return;
  if (event.key === "?") {
    toggle("help");
    event.preventDefault();
    return;
  }
  if (document.querySelector("dialog[open]")) return;
  const button = pressed(event.key.toLowerCase());
  if (!button || event.repeat) return;
  event.preventDefault();
  // What is shown is about to be replaced: nobody decides about what they have not seen.
  if (document.querySelector(".htmx-request[data-decides]")) return;
  if (isTyping(button)) button.focus();
  else button.click();
});

function toggle(id) {
  const dialog = document.getElementById(id);
  if (!dialog) return;
  if (dialog.open) dialog.close();
  else dialog.showModal();
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-opens], [data-closes], [data-cancels]");
  if (!button) return;
  if ("cancels" in button.dataset) {
    const dialog = button.closest("dialog");
    if (dialog) {
      event.preventDefault();
      dialog.close();
    }
    return;
  }
  if (button.dataset.opens) toggle(button.dataset.opens);
  else button.closest("[data-toast]")?.remove();
});

document.addEventListener("change", (event) => {
  if (event.target.id === "use-keys") {
    try {
      localStorage.setItem(STORED, event.target.checked ? "on" : "off");
    } catch {
      // Kept for this page alone.
    }
  }
  if (event.target.matches("[data-submits]")) event.target.form.requestSubmit();
});

// A message goes by itself, but not while somebody is at it.
function expire(toast) {
  setTimeout(() => {
    if (toast.matches(":hover, :focus-within")) expire(toast);
    else toast.remove();
  }, SHOWN_MILLISECONDS);
}

function prepare(root) {
  for (const toast of root.querySelectorAll("[data-toast]:not([data-seen])")) {
    toast.dataset.seen = "";
    expire(toast);
  }
  for (const dialog of root.querySelectorAll("dialog[data-shown]:not([open])")) {
    dialog.addEventListener("close", () => dialog.remove());
    dialog.showModal();
  }
}

document.addEventListener("DOMContentLoaded", () => {
  const box = document.getElementById("use-keys");
  if (box) box.checked = usesKeys();
  prepare(document);
});

document.addEventListener("htmx:afterSettle", (event) => {
  prepare(document);
  // What was put there: the target of the request may be gone from the page.
  const put = event.target;
  const place = put.matches?.("[data-focus]") ? put : put.querySelector?.("[data-focus]");
  if (place && !document.querySelector("dialog[open]")) {
    place.focus({ preventScroll: true });
    if (place.getBoundingClientRect().top < 0) window.scrollTo({ top: 0 });
  }
});

document.addEventListener("htmx:sendError", () => {
  const toast = document.createElement("div");
  toast.className = "toast error";
  toast.dataset.toast = "";
  toast.textContent = "The server does not answer: nothing was changed. Try again.";
  document.getElementById("toasts").append(toast);
  prepare(document);
});
