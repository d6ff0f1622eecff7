// Yes and no: what was marked, kept as long as the tab and the index are, and the concepts that it becomes.

import { get, post } from "./api_client.js";

const $ = (id) => document.getElementById(id);
const KEPT = "unreel marks";

export class Marks {
  // `page` has: of, fail(error), say(text). `on` has: change(), open(concept).
  constructor(page, on) {
    Object.assign(this, { page, on, kept: new Map(), opened: "" }); // kept: first row of a hit -> {kind, hit}
    $("save").onsubmit = (event) => { event.preventDefault(); this.save($("concept").value.trim()); };
    $("unmark").onclick = () => { this.kept.clear(); this.opened = ""; this.show(); };
  }

  kind(hit) { return this.kept.get(hit.rows[0])?.kind; }

  toggle(hit, kind) {
    if (this.kind(hit) === kind) this.kept.delete(hit.rows[0]);
    else this.kept.set(hit.rows[0], { kind, hit });
    this.show();
  }

  hits(kind) {
    return [...this.kept.values()].filter((mark) => mark.kind === kind).map((mark) => mark.hit);
  }

  rows() {
    return { yes: this.hits("yes").map((hit) => hit.rows[0]), no: this.hits("no").map((hit) => hit.rows[0]) };
  }

  show() {
    this.keep();
    const [yes, no] = [this.hits("yes").length, this.hits("no").length];
    $("marks").hidden = !this.kept.size;
    $("marks-said").textContent = `${yes} yes, ${no} no`;
    for (const id of ["rank", "like", "next"]) $(id).disabled = !yes;
    $("save").lastElementChild.disabled = !yes;
    this.on.change();
  }

  // --- a page that is loaded again

  keep() {
    const { of } = this.page, { opened } = this;
    try { sessionStorage.setItem(KEPT, JSON.stringify({ of, opened, marks: [...this.kept] })); } catch { /* no room: they last as long as the page */ }
  }

  restore() {
    let kept = {};
    try { kept = JSON.parse(sessionStorage.getItem(KEPT) || "{}"); } catch { /* no storage: nothing was kept */ }
    if (kept.of !== this.page.of) return;
    Object.assign(this, { opened: kept.opened, kept: new Map(kept.marks) });
    $("concept").value = this.opened;
    this.show();
  }

  // --- concepts

  // What was opened is saved as it is now; to another one of that name the marks are added.
  async save(name) {
    if (!name) return this.page.fail(new Error("give the concept a name"));
    try {
      const forget = name === this.opened;
      const { concepts, added } = await post("/api/concepts", { of: this.page.of, name, forget, ...this.rows() });
      this.list(concepts);
      if (!added) this.opened = name;
      this.keep();
      this.page.say(added ? `Added to ${name}` : `Saved as ${name}`);
    } catch (error) { this.page.fail(error); }
  }

  // A saved concept comes with its marks, so that marking goes on.
  async open(name) {
    let lost = 0;
    try {
      const found = await get(`/api/${this.page.of}/concepts/${encodeURIComponent(name)}`);
      this.kept = new Map(["no", "yes"].flatMap((kind) => found[kind].map((hit) => [hit.rows[0], { kind, hit }])));
      this.opened = $("concept").value = name;
      lost = found.lost;
      this.show();
    } catch (error) { return this.page.fail(error); }
    await this.on.open(name);
    if (lost) this.page.fail(new Error(`${lost} marks of ${name} are of moments that the index no longer has`));
  }

  list(names) {
    $("concepts-field").hidden = !names.length;
    $("concepts").replaceChildren(...names.map((name) => Object.assign(document.createElement("button"), { type: "button", textContent: name, onclick: () => this.open(name) })));
  }
}
