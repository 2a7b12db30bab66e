// Live updates: the server says that something changed, the page fetches itself and puts the new content in.
// Without this script every page still works; reload it to see what is new.
"use strict";
const live = document.getElementById("live");
const connection = document.getElementById("connection");
const watched = document.body.dataset.watch;
let waiting = false;
let busy = false;

const typing = () => {
  const at = document.activeElement;
  return live.contains(at) && /^(INPUT|SELECT|TEXTAREA)$/.test(at.tagName);
};

async function refresh() {
  if (document.hidden || typing() || busy) {
    waiting = true; // later: when the page is looked at, or the form is left
    return;
  }
  busy = true;
  waiting = false;
  try {
    const answer = await fetch(location.href, { credentials: "same-origin" });
    if (!answer.ok || answer.redirected) return;
    const next = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("live");
    if (next === null || typing()) return;
    const open = [...live.querySelectorAll("details[open][id]")].map((e) => e.id);
    const focused = live.contains(document.activeElement) ? path(document.activeElement) : null;
    live.replaceChildren(...next.childNodes);
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
    if (focused !== null) find(focused)?.focus({ preventScroll: true });
    connection.textContent = "live";
  } catch {
    connection.textContent = "not connected";
  } finally {
    busy = false;
    if (waiting && !typing() && !document.hidden) setTimeout(refresh, 2000);
  }
}

// Where the focus is: a link or a button keeps it when its content is drawn anew.
const path = (e) => e.id ? { id: e.id } : { href: e.getAttribute("href"), text: e.textContent };
const find = (p) => p.id ? document.getElementById(p.id)
  : [...live.querySelectorAll("a, button, summary")].find((e) => e.getAttribute("href") === p.href && e.textContent === p.text);

if (live && !document.querySelector(".enter")) {
  const events = new EventSource("/events?model=" + encodeURIComponent(watched));
  events.addEventListener("open", () => { connection.textContent = "live"; });
  events.addEventListener("error", () => { connection.textContent = "not connected"; });
  events.addEventListener("changed", refresh);
  document.addEventListener("visibilitychange", () => { if (waiting) refresh(); });
  live.addEventListener("focusout", () => { if (waiting) setTimeout(refresh, 100); });
  addEventListener("pagehide", () => events.close());
}
