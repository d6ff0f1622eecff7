// Marks (yes and no) on hits, stored for this tab and index, and the concepts saved from them.

import { get, plural, post } from "./api_client.js";

const $ = (id) => document.getElementById(id);
const STORAGE_KEY = "unreel marks";

export class Marks {
  // `page` has: of, fail(error), say(text). `on` has: change(), open(concept).
  constructor(page, on) {
    Object.assign(this, { page, on, markByRow: new Map(), openConcept: "", saved: "" }); // markByRow: first row of a hit -> {kind, hit}
    $("save").onsubmit = (event) => { event.preventDefault(); this.save($("concept").value.trim()); };
    $("unmark").onclick = () => { this.markByRow.clear(); this.openConcept = this.saved = $("concept").value = ""; this.show(); };
  }

  // Whether the marks are saved, under this name where one is given.
  isSaved(name = this.openConcept) { return Boolean(name) && name === this.openConcept && JSON.stringify(this.rows()) === this.saved; }

  kind(hit) { return this.markByRow.get(hit.rows[0])?.kind; }

  toggle(hit, kind) {
    if (this.kind(hit) === kind) this.markByRow.delete(hit.rows[0]);
    else this.markByRow.set(hit.rows[0], { kind, hit });
    this.show();
  }

  hits(kind) {
    return [...this.markByRow.values()].filter((mark) => mark.kind === kind).map((mark) => mark.hit);
  }

  rows() {
    return { yes: this.hits("yes").map((hit) => hit.rows[0]), no: this.hits("no").map((hit) => hit.rows[0]) };
  }

  show() {
    this.store();
    const [yes, no] = [this.hits("yes").length, this.hits("no").length];
    $("marks").hidden = !this.markByRow.size;
    $("marks-said").textContent = `${yes} yes, ${no} no`;
    for (const id of ["rank", "like", "use"]) $(id).disabled = !yes;
    $("save").lastElementChild.disabled = !yes;
    this.on.change();
  }

  // --- reloading the page

  store() {
    const { of } = this.page, { openConcept: opened, saved } = this;
    try { sessionStorage.setItem(STORAGE_KEY, JSON.stringify({ of, opened, saved, marks: [...this.markByRow] })); } catch { /* no space: the marks last as long as the page */ }
  }

  restore() {
    let stored = {};
    try { stored = JSON.parse(sessionStorage.getItem(STORAGE_KEY) || "{}"); } catch { /* no storage: there are no marks */ }
    if (stored.of !== this.page.of) return;
    Object.assign(this, { openConcept: stored.opened, saved: stored.saved, markByRow: new Map(stored.marks) });
    $("concept").value = this.openConcept;
    this.show();
  }

  // --- concepts

  // Replaces the marks of the open concept; adds to those of any other concept with this name.
  async save(given) {
    const name = given.normalize("NFC"); // as other keyboards type it
    if (!name) return this.page.fail(new Error("give the concept a name"));
    try {
      const forget = name === this.openConcept;
      const { concepts, added } = await post("/api/concepts", { of: this.page.of, name, forget, ...this.rows() });
      this.showConcepts(concepts);
      if (added) await this.readMarks(name);
      Object.assign(this, { openConcept: name, saved: JSON.stringify(this.rows()) });
      $("concept").value = name;
      this.show();
      this.page.mend();
      this.page.say(added ? `Added to ${name}` : `Saved as ${name}`);
    } catch (error) { this.page.fail(error); }
  }

  // Takes over the marks of a saved concept; returns how many of them are of moments that are gone.
  async readMarks(name) {
    const concept = await get(`/api/${this.page.of}/concepts/${encodeURIComponent(name)}`);
    this.markByRow = new Map(["no", "yes"].flatMap((kind) => concept[kind].map((hit) => [hit.rows[0], { kind, hit }])));
    return concept.lost;
  }

  // Opens a saved concept with its marks, so that marking can continue.
  async open(name) {
    let numLost = 0;
    try {
      numLost = await this.readMarks(name);
      this.openConcept = $("concept").value = name;
      this.saved = JSON.stringify(this.rows());
      this.show();
      this.page.mend();
    } catch (error) { return this.page.fail(error); }
    await this.on.open(name);
    if (numLost) this.page.fail(new Error(`${plural(numLost, "mark")} of ${name} lost: the index no longer has their moments`));
  }

  showConcepts(names) {
    $("concepts-field").hidden = !names.length;
    $("concepts").replaceChildren(...names.map((name) => Object.assign(document.createElement("button"), { type: "button", textContent: name, onclick: () => this.open(name) })));
  }
}
