// One view: draws whole snapshots, forwards intents, and keeps what is only of this page.
import { el, patch } from "./dom.js";

const EDIT_DELAY_MS = 180;
const DRAG_INTERVAL_MS = 100;
const BUSY_AFTER_MS = 1500;

export function view(draw) {
  return ({ model, el: host }) => {
    const page = { copyAs: "command", copied: false, busy: false, lost: false, offers: {}, typed: {}, open: {} };
    const root = el("section", { class: "wb", "aria-label": "NLP Workbench" });
    host.classList.add("wb-host");
    host.append(root);
    const desk = new Desk(model, root, page, draw);
    desk.redraw();
    return () => desk.close();
  };
}

class Desk {
  constructor(model, root, page, draw) {
    Object.assign(this, { model, root, page, draw });
    this.edits = 0;
    this.sent = {}; // the newest text of each field that the kernel was told
    this.timers = {};
    this.waiting = {}; // edits that are told after a pause in typing
    this.onSnapshot = () => this.receive();
    this.onComm = () => this.setPage({ lost: !this.page.lost });
    model.on("change:snapshot", this.onSnapshot);
    model.on("comm_live_update", this.onComm);
    root.addEventListener("click", (event) => this.click(event));
    root.addEventListener("input", (event) => this.edit(event));
    root.addEventListener("change", (event) => this.edit(event, 0));
    root.addEventListener("keydown", (event) => this.key(event));
  }

  close() {
    this.model.off("change:snapshot", this.onSnapshot);
    this.model.off("comm_live_update", this.onComm);
    Object.values(this.timers).forEach(clearTimeout);
  }

  redraw() {
    const next = el("section", {}, this.draw(this.model.get("snapshot"), this.page));
    for (const { name, value } of [...this.root.attributes]) next.setAttribute(name, value);
    patch(this.root, next);
  }

  setPage(change) {
    Object.assign(this.page, change);
    this.redraw();
  }

  receive() {
    const answered = this.model.get("snapshot").answered ?? Infinity;
    for (const control of this.root.querySelectorAll("[data-edit]")) {
      if (Number(control.dataset.edit) > answered) continue;
      delete control.dataset.edit;
      delete this.page.typed[control.dataset.field];
    }
    clearTimeout(this.timers.busy);
    this.setPage({ busy: false, sent: "" });
  }

  send(message) {
    this.model.send(message);
    clearTimeout(this.timers.busy);
    // ipykernel holds messages back while a cell runs: say so, rather than look broken.
    this.timers.busy = setTimeout(() => this.setPage({ busy: true }), BUSY_AFTER_MS);
  }

  click(event) {
    const target = event.target.closest("[data-intent], [data-page]");
    if (!target || target.disabled || !this.root.contains(target)) return;
    const { intent, page, copy, ...rest } = target.dataset;
    Object.keys(this.waiting).forEach((name) => this.tell(name));
    if (page) this.pageIntent(page, target);
    else if (intent === "change") this.change(rest.name, rest.value, target);
    else {
      this.page.sent = intent;
      this.sent = {}; // the form may be another one now
      this.send({ intent, ...rest });
      this.redraw();
    }
  }

  pageIntent(page, target) {
    if (page === "copy-as") this.setPage({ copyAs: target.dataset.value, copied: false });
    else if (page === "copy") this.copy();
    else if (page === "goto") this.goTo(target.dataset.name);
    else if (page === "unfold") this.setPage({ open: { ...this.page.open, [target.dataset.name]: !this.page.open[target.dataset.name] } });
  }

  goTo(name) {
    const control = this.root.querySelector(`[data-field="${CSS.escape(name)}"]`);
    control?.scrollIntoView({ block: "center" });
    control?.focus();
  }

  edit(event, delay = EDIT_DELAY_MS) {
    const control = event.target.closest("[data-field]");
    if (!control) return;
    if (control.nodeName === "TEXTAREA") grow(control);
    const name = control.dataset.field;
    const raw = control.type === "checkbox" ? control.checked : control.value;
    if (event.type === "change" && raw === this.sent[name]) return; // told while it was typed
    control.dataset.edit = this.edits + 1;
    if (control.dataset.live) return this.drag(name, control);
    clearTimeout(this.timers[name]);
    this.waiting[name] = () => this.change(name, raw, control);
    this.timers[name] = setTimeout(() => this.tell(name), delay);
  }

  // What was typed and is not told yet; a button means what is on the page when it is pressed.
  tell(name) {
    const told = this.waiting[name];
    delete this.waiting[name];
    clearTimeout(this.timers[name]);
    told?.();
  }

  // A slider: shown at its new place at once, told to the kernel ten times a second at most.
  drag(name, control) {
    const stops = JSON.parse(control.dataset.live);
    const raw = String(stops[Number(control.value)]);
    this.page.typed[name] = { raw, at: Number(control.value) };
    this.redraw();
    if (this.timers[name] || this.sent[name] === raw) return;
    this.timers[name] = setTimeout(() => {
      delete this.timers[name];
      this.change(name, String(stops[Number(control.value)]), control);
    }, DRAG_INTERVAL_MS);
  }

  change(name, raw, control) {
    this.edits += 1;
    this.sent[name] = raw;
    if (control.dataset.field) control.dataset.edit = this.edits;
    this.send({ intent: "change", name, raw, edit: this.edits });
  }

  key(event) {
    const group = event.target.closest("[role=radiogroup]");
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!group || !step) return;
    event.preventDefault();
    const choices = [...group.querySelectorAll("[role=radio]")];
    const at = choices.indexOf(event.target);
    const next = choices[(at + step + choices.length) % choices.length];
    next.focus();
    next.click();
  }

  async copy() {
    const code = this.root.querySelector(".copy pre");
    const text = code.dataset.text;
    try {
      await navigator.clipboard.writeText(text);
      this.setPage({ copied: true });
    } catch {
      // Without https there is no clipboard: select the text, so that one key press copies it.
      getSelection().selectAllChildren(code);
      this.setPage({ copied: document.execCommand("copy") });
    }
    clearTimeout(this.timers.copied);
    this.timers.copied = setTimeout(() => this.setPage({ copied: false }), 2000);
  }
}

function grow(area) {
  area.style.height = "auto";
  area.style.height = `${Math.min(area.scrollHeight + 2, 400)}px`;
}

// What the page itself has to tell: a busy kernel, a lost kernel, a refused intent.
export function notices(snapshot, page) {
  const told = [];
  if (page.lost) told.push("The kernel is gone. This is the last that was known; the run itself goes on.");
  else if (page.busy) told.push("The kernel is busy: it answers when the running cell ends.");
  if (snapshot.notice) told.push(snapshot.notice);
  return el("div", { role: "status", class: "notices", "data-key": "notices" },
    told.map((text) => el("p", {}, text)));
}
