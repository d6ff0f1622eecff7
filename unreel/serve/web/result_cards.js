// Hits as cards: a poster that plays while it is hovered or focused, buttons for marks, and keys.

import { formatTime, plural } from "./api_client.js";
import { openPlayer } from "./player.js";
import { indexedMoment, play, prefersReducedMotion, showMoment, stop } from "./video_playback.js";

const listCards = () => document.querySelectorAll(".cards > li");

// `page` has: of, marks (annotations.js), use(hit), showDuplicates(hit). `list` has the class "cards".
export function showCards(page, hits, list = document.getElementById("hits")) {
  const focused = list.contains(document.activeElement);
  list.querySelectorAll("video").forEach(stop);
  list.replaceChildren(...hits.map((hit) => makeCard(page, hit)));
  if (list.firstChild) list.firstChild.tabIndex = 0;
  if (focused) list.firstChild?.focus();
  refreshMarks(page);
}

function makeCard(page, hit) {
  const item = document.createElement("li");
  item.tabIndex = -1;
  item.hit = hit;
  const picture = document.createElement("div");
  picture.className = "picture";
  picture.append(makePoster(page, hit));
  item.append(picture, makeCaption(page, hit), makeButtons(page, hit));
  const startPreview = () => playPreview(page, picture, hit);
  const stopPreview = () => picture.querySelectorAll("video").forEach((v) => (stop(v), v.remove()));
  item.addEventListener("pointerenter", startPreview);
  item.addEventListener("pointerleave", stopPreview);
  item.addEventListener("focusin", () => { startPreview(); setButtonTabIndex(item, 0); });
  item.addEventListener("focusout", (event) => { if (!item.contains(event.relatedTarget)) { stopPreview(); setButtonTabIndex(item, -1); } });
  picture.addEventListener("click", () => openPlayer(page, hit, item));
  return item;
}

// Tab reaches the buttons of the focused card only.
function setButtonTabIndex(item, tabIndex) {
  for (const button of item.querySelectorAll("button")) button.tabIndex = tabIndex;
}

function makePoster(page, hit) {
  const image = document.createElement("img");
  image.alt = "";
  image.loading = "lazy";
  const address = `/api/${page.of}/videos/${hit.video}/poster?at=${((hit.start_s + hit.end_s) / 2).toFixed(3)}`;
  image.onerror = () => explainMissingPoster(image, address);
  image.src = address;
  return image;
}

// Shows why there is no picture, e.g. because the video was deleted.
async function explainMissingPoster(image, address) {
  const paragraph = document.createElement("p");
  paragraph.className = "gone";
  paragraph.textContent = "no picture";
  image.replaceWith(paragraph);
  const response = await fetch(address).catch(() => null);
  if (response && !response.ok) paragraph.textContent = (await response.json().catch(() => ({}))).error || "no picture";
}

function makeCaption(page, hit) {
  const paragraph = document.createElement("p");
  paragraph.className = "caption";
  const name = Object.assign(document.createElement("b"), { textContent: hit.name, title: hit.name });
  const span = `${formatTime(hit.start_s)} – ${formatTime(hit.end_s)}`;
  const rest = Object.assign(document.createElement("span"), { textContent: span });
  if (hit.like_s) rest.title = `Like ${hit.like_s.map(formatTime).join(" – ")} of the query`;
  if (hit.num_alike) {
    const text = `${hit.num_alike} alike`;
    const folded = Object.assign(document.createElement("button"), { type: "button", className: "alike", tabIndex: -1, textContent: text, onclick: () => page.showDuplicates(hit) });
    folded.setAttribute("aria-label", `Show the ${plural(hit.num_alike, "near-duplicate")} of ${hit.name} at ${formatTime(hit.start_s)}`);
    rest.append(" ", folded);
  }
  const score = Object.assign(document.createElement("span"), { className: "score", ...describeScore(page, hit) });
  paragraph.append(name, rest, score);
  return paragraph;
}

// What the likeness of a search hit is worth, or the probability of a concept. Scores of an encoder that is no better than what needs
// no training would mislead, so its hits have their rank.
function describeScore(page, hit) {
  if (hit.likeness === null) return { textContent: hit.score ? hit.score.toFixed(3) : "" };
  if (page.about.verdict?.level === "not better") return { textContent: hit.rank ? `${hit.rank}.` : "", title: "Rank; this encoder gives no meaningful score" };
  const likeness = `Likeness ${hit.likeness.toFixed(2)}: 0 is a typical moment of the index, 1 the query itself`;
  const share = hit.percentile === null ? "" : `. Closer than the third nearest video of ${Math.round(hit.percentile)} % of the moments here`;
  return { textContent: hit.likeness.toFixed(2), title: likeness + share };
}

function makeButtons(page, hit) {
  const row = document.createElement("div");
  row.className = "marking";
  const make = (text, label, action) => {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: text, onclick: action, tabIndex: -1 });
    button.setAttribute("aria-label", `${label}: ${hit.name} at ${formatTime(hit.start_s)}`);
    row.append(button);
    return button;
  };
  make("Yes", "Mark yes", () => page.marks.toggle(hit, "yes")).dataset.mark = "yes";
  make("No", "Mark no", () => page.marks.toggle(hit, "no")).dataset.mark = "no";
  make("More like it", "Use as the query", () => page.use(hit));
  return row;
}

// Shows the marks on the cards; called after each change.
export function refreshMarks(page) {
  for (const item of listCards()) {
    const mark = page.marks.kind(item.hit);
    item.dataset.mark = mark || "";
    const marked = mark ? `, marked ${mark}` : "";
    const { name, label, start_s, end_s } = item.hit;
    item.setAttribute("aria-label", `${name}${label ? `, ${label}` : ""}, ${formatTime(start_s)} to ${formatTime(end_s)}${marked}`);
    for (const button of item.querySelectorAll("[data-mark]")) button.setAttribute("aria-pressed", String(button.dataset.mark === mark));
  }
}

function playPreview(page, picture, hit) {
  if (prefersReducedMotion.matches || picture.querySelector("video") || picture.querySelector(".gone")) return;
  const video = Object.assign(document.createElement("video"), { muted: true, playsInline: true, preload: "auto", tabIndex: -1 });
  video.setAttribute("aria-hidden", "true");
  video.onplaying = () => video.classList.add("on");
  picture.append(video);
  showMoment(video, indexedMoment(page.of, hit), { loop: true, failed: () => video.remove() });
  play(video);
}

// --- keys

export function listenToKeys(page) {
  for (const list of document.querySelectorAll(".cards")) list.addEventListener("keydown", (event) => answerKey(page, list, event));
}

function answerKey(page, list, event) {
  const item = event.target.closest("li");
  if (!item || event.ctrlKey || event.metaKey || event.altKey) return;
  const action = { y: () => page.marks.toggle(item.hit, "yes"), n: () => page.marks.toggle(item.hit, "no"), u: () => page.use(item.hit) }[event.key];
  const columns = getComputedStyle(list).gridTemplateColumns.split(" ").length;
  const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns }[event.key];
  if (event.key === "Enter" && event.target === item) openPlayer(page, item.hit, item);
  else if (action) action();
  else if (event.key === "Home" || event.key === "End") moveFocus(item, event.key === "Home" ? list.firstChild : list.lastChild);
  else if (step) moveFocus(item, list.children[[...list.children].indexOf(item) + step]);
  else return;
  event.preventDefault();
}

function moveFocus(from, to) {
  if (!to) return;
  from.tabIndex = -1;
  to.tabIndex = 0;
  to.focus();
  to.scrollIntoView({ block: "nearest" });
}
