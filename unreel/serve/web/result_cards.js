// Hits as cards: a poster that plays while it is pointed at or focused, marks, and keys; the player that a card opens.

import { clock, many } from "./api_client.js";
import { ofIndex, play, seek, show, still, stop } from "./video_playback.js";

const grid = document.getElementById("hits");

// `page` has: of, marks (marks.js), use(hit), alike(hit)
export function showCards(page, hits) {
  const focused = grid.contains(document.activeElement);
  grid.querySelectorAll("video").forEach(stop);
  grid.replaceChildren(...hits.map((hit) => card(page, hit)));
  if (grid.firstChild) grid.firstChild.tabIndex = 0;
  if (focused) grid.firstChild?.focus();
  refresh(page);
}

function card(page, hit) {
  const item = document.createElement("li");
  item.tabIndex = -1;
  item.hit = hit;
  const picture = document.createElement("div");
  picture.className = "picture";
  picture.append(poster(page, hit));
  item.append(picture, caption(page, hit), buttons(page, hit));
  const begin = () => preview(page, picture, hit);
  const end = () => picture.querySelectorAll("video").forEach((v) => (stop(v), v.remove()));
  item.addEventListener("pointerenter", begin);
  item.addEventListener("pointerleave", end);
  item.addEventListener("focusin", () => { begin(); reach(item, 0); });
  item.addEventListener("focusout", (event) => { if (!item.contains(event.relatedTarget)) { end(); reach(item, -1); } });
  picture.addEventListener("click", () => open(page, hit, item));
  return item;
}

// With Tab one reaches the buttons of the card that one is on, not those of all cards.
function reach(item, tabIndex) {
  for (const button of item.querySelectorAll("button")) button.tabIndex = tabIndex;
}

function poster(page, hit) {
  const image = document.createElement("img");
  image.alt = "";
  image.loading = "lazy";
  const address = `/api/${page.of}/videos/${hit.video}/poster?at=${((hit.start_s + hit.end_s) / 2).toFixed(3)}`;
  image.onerror = () => explain(image, address);
  image.src = address;
  return image;
}

// A picture that can't be had says why: its video was deleted, say.
async function explain(image, address) {
  const said = document.createElement("p");
  said.className = "gone";
  said.textContent = "no picture";
  image.replaceWith(said);
  const response = await fetch(address).catch(() => null);
  if (response && !response.ok) said.textContent = (await response.json().catch(() => ({}))).error || "no picture";
}

function caption(page, hit) {
  const said = document.createElement("p");
  said.className = "caption";
  const name = Object.assign(document.createElement("b"), { textContent: hit.name, title: hit.name });
  const when = `${clock(hit.start_s)} – ${clock(hit.end_s)}`;
  const rest = Object.assign(document.createElement("span"), { textContent: when });
  if (hit.num_alike) {
    const text = `${hit.num_alike} alike`;
    const folded = Object.assign(document.createElement("button"), { type: "button", className: "alike", tabIndex: -1, textContent: text, onclick: () => page.alike(hit) });
    folded.setAttribute("aria-label", `Show the ${many(hit.num_alike, "near-duplicate")} of ${hit.name} at ${clock(hit.start_s)}`);
    rest.append(" ", folded);
  }
  const score = Object.assign(document.createElement("span"), { className: "score", textContent: hit.score ? hit.score.toFixed(3) : "" });
  said.append(name, rest, score);
  return said;
}

function buttons(page, hit) {
  const row = document.createElement("div");
  row.className = "marking";
  const make = (text, label, act) => {
    const made = Object.assign(document.createElement("button"), { type: "button", textContent: text, onclick: act, tabIndex: -1 });
    made.setAttribute("aria-label", `${label}: ${hit.name} at ${clock(hit.start_s)}`);
    row.append(made);
    return made;
  };
  make("Yes", "Mark yes", () => page.marks.toggle(hit, "yes")).dataset.mark = "yes";
  make("No", "Mark no", () => page.marks.toggle(hit, "no")).dataset.mark = "no";
  make("More like it", "Use as the query", () => page.use(hit));
  return row;
}

// Marks as the cards show them; called after each change.
export function refresh(page) {
  for (const item of grid.children) {
    const mark = page.marks.kind(item.hit);
    item.dataset.mark = mark || "";
    const marked = mark ? `, marked ${mark}` : "";
    const { name, label, start_s, end_s } = item.hit;
    item.setAttribute("aria-label", `${name}${label ? `, ${label}` : ""}, ${clock(start_s)} to ${clock(end_s)}${marked}`);
    for (const button of item.querySelectorAll("[data-mark]")) button.setAttribute("aria-pressed", String(button.dataset.mark === mark));
  }
}

function preview(page, picture, hit) {
  if (still.matches || picture.querySelector("video") || picture.querySelector(".gone")) return;
  const video = Object.assign(document.createElement("video"), { muted: true, playsInline: true, preload: "auto", tabIndex: -1 });
  video.setAttribute("aria-hidden", "true");
  video.onplaying = () => video.classList.add("on");
  picture.append(video);
  show(video, ofIndex(page.of, hit), { loop: true, failed: () => video.remove() });
  play(video);
}

// --- keys

export function listenToKeys(page) {
  grid.addEventListener("keydown", (event) => {
    const item = event.target.closest("li");
    if (!item || event.ctrlKey || event.metaKey || event.altKey) return;
    const act = { y: () => page.marks.toggle(item.hit, "yes"), n: () => page.marks.toggle(item.hit, "no"), u: () => page.use(item.hit) }[event.key];
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns(), ArrowUp: -columns() }[event.key];
    if (event.key === "Enter" && event.target === item) open(page, item.hit, item);
    else if (act) act();
    else if (event.key === "Home" || event.key === "End") move(item, event.key === "Home" ? grid.firstChild : grid.lastChild);
    else if (step) move(item, grid.children[[...grid.children].indexOf(item) + step]);
    else return;
    event.preventDefault();
  });
}

const columns = () => getComputedStyle(grid).gridTemplateColumns.split(" ").length;

function move(from, to) {
  if (!to) return;
  from.tabIndex = -1;
  to.tabIndex = 0;
  to.focus();
  to.scrollIntoView({ block: "nearest" });
}

// --- the player

const player = document.getElementById("player");
const video = document.getElementById("player-video");
const part = (name) => document.getElementById(`player-${name}`);

export function open(page, hit, from = null) {
  part("name").textContent = hit.name;
  part("said").textContent = `${hit.label ? `${hit.label}, ` : ""}${clock(hit.start_s)} – ${clock(hit.end_s)}`;
  const failed = () => { part("said").textContent = "This video can't be played: it is damaged, or was deleted after it was indexed."; };
  show(video, ofIndex(page.of, hit), { around_s: 15, failed });
  part("use").onclick = () => { player.close(); page.use(hit); };
  part("again").onclick = () => { seek(video, hit.start_s); play(video); };
  for (const kind of ["yes", "no"]) part(kind).onclick = () => { page.marks.toggle(hit, kind); press(page, hit); };
  press(page, hit);
  part("close").onclick = () => player.close();
  player.onclose = () => { stop(video); from?.focus(); };
  player.onclick = (event) => { if (event.target === player) player.close(); };
  player.showModal();
  play(video);
}

function press(page, hit) {
  const kind = page.marks.kind(hit);
  for (const name of ["yes", "no"]) part(name).setAttribute("aria-pressed", String(kind === name));
}
