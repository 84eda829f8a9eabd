// Keeps a page fresh: fetches its changing part every two seconds and changes only what differs, so that the scroll
// position, typed text and the focus stay. Without this file every page still works, by reloading.
"use strict";

(() => {
  const PERIOD_MS = 2000;
  const PATIENCE_MS = 10000;
  const connection = document.querySelector("[data-connection]");
  const region = document.querySelector("[data-live]");
  let lastSeen = Date.now();
  let version = region ? region.dataset.version || "" : "";
  let timer = 0;
  let lost = false;

  function parsed(html) {
    return new DOMParser().parseFromString(html, "text/html").body;
  }

  function keyOf(node) {
    return node.nodeType === Node.ELEMENT_NODE ? node.getAttribute("data-key") || node.id || "" : "";
  }

  function alike(one, other) {
    return one.nodeType === other.nodeType && one.nodeName === other.nodeName && keyOf(one) === keyOf(other);
  }

  // Make `old` equal to `fresh`, touching only what differs.
  function change(old, fresh) {
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
      return;
    }
    if (old.hasAttribute("data-keep") || old.isEqualNode(fresh)) return;
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value && !(name === "open" && old.nodeName === "DETAILS")) {
        old.setAttribute(name, value);
      }
    }
    for (const name of old.getAttributeNames()) {
      if (!fresh.hasAttribute(name) && !(name === "open" && old.nodeName === "DETAILS")) old.removeAttribute(name);
    }
    changeChildren(old, fresh);
  }

  function changeChildren(old, fresh) {
    const keyed = new Map();
    for (const child of old.children) if (keyOf(child)) keyed.set(keyOf(child), child);
    let cursor = old.firstChild;
    for (const wanted of [...fresh.childNodes]) {
      const known = keyOf(wanted) ? keyed.get(keyOf(wanted)) : null;
      if (known && known.nodeName === wanted.nodeName) {
        if (known === cursor) cursor = cursor.nextSibling;
        else old.insertBefore(known, cursor);
        change(known, wanted);
      } else if (cursor && alike(cursor, wanted)) {
        change(cursor, wanted);
        cursor = cursor.nextSibling;
      } else {
        old.insertBefore(document.importNode(wanted, true), cursor);
      }
    }
    while (cursor) {
      const next = cursor.nextSibling;
      cursor.remove();
      cursor = next;
    }
  }

  function update(html) {
    const focused = document.activeElement;
    const { scrollX, scrollY } = window;
    changeChildren(region, parsed(html));
    // The browser's scroll anchoring takes a moved node for one that the reader followed.
    if (window.scrollX !== scrollX || window.scrollY !== scrollY) window.scrollTo(scrollX, scrollY);
    if (focused && focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
    mark();
  }

  function say() {
    if (!connection) return;
    if (lost) {
      const seconds = Math.round((Date.now() - lastSeen) / 1000);
      connection.textContent = `connection lost, last seen ${seconds} s ago`;
    } else {
      connection.textContent = "live";
    }
    connection.classList.toggle("lost", lost);
  }

  async function poll() {
    clearTimeout(timer);
    try {
      const response = await fetch(location.href, {
        headers: { "X-Fragment": "1", "If-None-Match": version },
        cache: "no-store",
        signal: AbortSignal.timeout(PATIENCE_MS),
      });
      if (response.status === 200) {
        const html = await response.text();
        version = response.headers.get("ETag") || "";
        update(html);
      } else if (response.status !== 304) {
        throw new Error(`status ${response.status}`);
      }
      lastSeen = Date.now();
      lost = false;
    } catch {
      lost = true;
    }
    say();
    clearTimeout(timer);
    if (!document.hidden) timer = setTimeout(poll, PERIOD_MS);
  }

  // The same stage run wherever it appears is marked while one of its pictures is under the pointer or has the focus.
  let marked = "";
  function mark() {
    for (const node of document.querySelectorAll("[data-stage-run]")) {
      node.classList.toggle("same", node.dataset.stageRun === marked);
    }
  }
  function follow(event) {
    const node = event.target instanceof Element ? event.target.closest("[data-stage-run]") : null;
    const wanted = node ? node.dataset.stageRun : "";
    if (wanted !== marked) {
      marked = wanted;
      mark();
    }
  }

  async function draw(event) {
    const form = event.target.closest("form[data-draws]");
    if (!form) return;
    event.preventDefault();
    const target = document.getElementById(form.dataset.draws);
    const button = form.querySelector("button");
    button.disabled = true;
    target.setAttribute("aria-busy", "true");
    target.replaceChildren(message("Drawing …", false));
    try {
      const response = await fetch(form.action, {
        method: "POST",
        body: new URLSearchParams(new FormData(form)),
        headers: { "X-Fragment": "1" },
      });
      if ((response.headers.get("Content-Type") || "").startsWith("text/html")) {
        target.replaceChildren(...parsed(await response.text()).childNodes);
      } else {
        target.replaceChildren(message(`The server answered with status ${response.status}.`, true));
      }
    } catch {
      target.replaceChildren(message("The server cannot be reached; try again when the connection is back.", true));
    }
    target.removeAttribute("aria-busy");
    button.disabled = false;
  }

  function message(text, bad) {
    const node = document.createElement("p");
    node.className = bad ? "notice bad" : "notice";
    node.textContent = text;
    return node;
  }

  document.addEventListener("submit", draw);
  document.addEventListener("pointerover", follow);
  document.addEventListener("focusin", follow);
  if (region) {
    say();
    timer = setTimeout(poll, PERIOD_MS);
    setInterval(() => lost && say(), 1000);
    document.addEventListener("visibilitychange", () => {
      clearTimeout(timer);
      if (!document.hidden) poll();
    });
  }
})();
