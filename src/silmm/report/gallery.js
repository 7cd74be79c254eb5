"use strict";
// Data in, page out: every text of the data becomes a text node. The state of the filters is the address's fragment.

const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const words = (name) => name.replaceAll("_", " ");
const signed = (x) => (x <= -0.005 ? "\u2212" : "+") + Math.abs(x).toFixed(2);
const policyName = (t) => (t === 0 ? "base" : `iteration ${t}`);
const count = (n, what) => `${n} ${what}${n === 1 ? "" : "s"}`;
const JUDGED = { right: "LMM right", optimistic: "too optimistic", pessimistic: "too pessimistic", silent: "asked nothing" };
const CHANGES = { improved: "improved", regressed: "regressed", same: "as many hold" };
const ROLES = { chosen: "chosen", rejected: "rejected" };
const SORTS = { prompt: "prompt, A to Z", change: "change, best first", "-change": "change, worst first" };

/** An element with properties (`data-` and `aria-` ones as attributes) and children; a text child is a text node. */
function el(tag, properties, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (name.includes("-")) node.setAttribute(name, value);
    else node[name] = value;
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

// --- filters: {name: {label, options: {value: text}}}; "" is all ----------------------------------------------------

function categories() {
  const found = {};
  for (const group of new Set(data.cards.map((card) => card.category))) {
    const subs = new Set(data.cards.filter((card) => card.category === group).map((card) => card.subcategory));
    if (subs.size > 1) found[group] = `${words(group)} (${subs.size})`;
    for (const sub of subs) found[sub] = subs.size > 1 ? `\u2003${words(sub)}` : words(sub);
  }
  return found;
}

const FILTERS = {
  lmm: { label: "LMM", options: { "": "all", ...Object.fromEntries(data.lmms.map((one) => [one.lmm, one.lmm])) } },
  category: { label: "Category", options: { "": "all", ...categories() } },
  change: { label: "First against last", options: { "": "all", ...CHANGES } },
  judged: { label: "Self-score against oracle", options: { "": "all", ...JUDGED } },
  role: { label: "Chosen or rejected", options: { "": "all", ...ROLES } },
  sort: { label: "Sort by", options: { "": "category", ...SORTS } },
};
const ofCard = {
  lmm: (card, value) => card.lmm === value,
  category: (card, value) => card.category === value || card.subcategory === value,
  change: (card, value) => card.change === value,
};
const ofPicture = { judged: (picture, value) => picture.judged === value, role: (picture, value) => picture.role === value };
const passes = (tests, state, one) => Object.entries(tests).every(([name, test]) => !state[name] || test(one, state[name]));

const gain = (card) => card.held.at(-1) - card.held[0];
const ORDERS = {
  prompt: (a, b) => (a.prompt < b.prompt ? -1 : a.prompt > b.prompt ? 1 : 0),
  change: (a, b) => gain(b) - gain(a),
  "-change": (a, b) => gain(a) - gain(b),
};

/** The state that the address names, and the parts of it that are no filter of this page. */
function stateOfAddress() {
  const state = { open: "" };
  const unknown = [];
  for (const name of Object.keys(FILTERS)) state[name] = "";
  for (const [name, value] of new URLSearchParams(location.hash.slice(1))) {
    if (name === "open" || value in (FILTERS[name]?.options ?? {})) state[name] = value;
    else unknown.push(`${name}=${value}`);
  }
  return { state, unknown };
}

function addressOf(state) {
  const named = Object.entries(state).filter(([, value]) => value);
  return `#${new URLSearchParams(named)}`;
}

// --- cards ----------------------------------------------------------------------------------------------------------

function pictureButton(card, policy, picture, number) {
  const verdict = picture.malformed ? "no scene" : picture.whole ? "holds" : "fails";
  const own = picture.own === null ? "no score" : signed(picture.own);
  const wrong = picture.judged === "right" ? "" : words(JUDGED[picture.judged]);
  const label = [`${policyName(policy.iteration)}, picture ${number + 1}: ${verdict}`, `own score ${own}`, wrong, picture.role];
  return el(
    "button",
    {
      className: "picture", type: "button", "aria-expanded": "false", "aria-label": label.filter(Boolean).join(", "),
      "data-key": `${card.key}-${policy.iteration}-${number}`, "data-judged": picture.judged, "data-role": picture.role,
    },
    el("img", { src: `data:image/png;base64,${picture.png}`, alt: "", width: 30, height: 30 }),
    el("span", {}, el("b", { className: picture.whole ? "holds" : "fails" }, picture.whole ? "\u2713 " : "\u2717 "), own),
    el("span", { className: "word" }, picture.malformed ? "no scene" : picture.role),
    el("span", { className: "wrong" }, wrong.replace("too ", "")),
  );
}

function cardElement(card) {
  const pictures = card.policies[0].pictures.length;
  const grid = el("div", { className: "grid" });
  grid.style.setProperty("--columns", card.policies.length);
  grid.append(...card.policies.map((policy) => el("div", { className: "head" }, policyName(policy.iteration))));
  for (let k = 0; k < pictures; k++) {
    grid.append(...card.policies.map((policy) => pictureButton(card, policy, policy.pictures[k], k)));
  }
  const change = `${CHANGES[card.change]}: ${card.held[0]} of ${pictures}, then ${card.held.at(-1)}`;
  return el(
    "article",
    { "data-card": card.key },
    el("h2", {}, card.prompt),
    el(
      "div", { className: "facts" },
      el("span", {}, card.lmm), el("span", {}, words(card.subcategory)), el("span", { className: card.change }, change),
    ),
    grid,
    el("div", { className: "panel", hidden: true }),
  );
}

// --- the panel of one picture ---------------------------------------------------------------------------------------

const cell = (text, className = "") => el("td", { className }, text);
const oracleCell = (holds) => cell(holds ? "\u2713 holds" : "\u2717 fails", holds ? "holds" : "fails");

function questionRow(question, [yes, no, holds]) {
  const says = yes > no;
  const numbers = `${says ? "yes" : "no"} (${yes.toFixed(2)} / ${no.toFixed(2)})`;
  return el("tr", { className: says === holds ? "" : "differs" }, cell(question), cell(numbers, "number"), oracleCell(holds));
}

function panelContent(policy, picture, number) {
  const oracle = picture.malformed ? "the picture shows no scene" : picture.whole ? "every claim holds" : "not every claim holds";
  const own = picture.own === null ? "none: it asked nothing" : `${signed(picture.own)} (${JUDGED[picture.judged]})`;
  const heads = ["Question", "LMM: yes / no", "Oracle"].map((text) => el("th", { scope: "col" }, text));
  return [
    el("h3", {}, `${policyName(policy.iteration)}, picture ${number + 1}${picture.role ? `, ${picture.role}` : ""}`),
    el("img", { src: `data:image/png;base64,${picture.png}`, alt: "the picture, larger", width: 30, height: 30 }),
    el("p", {}, `Oracle: ${oracle}. Own score: ${own}.`),
    el(
      "table", {},
      el("thead", {}, el("tr", {}, ...heads)),
      el(
        "tbody", {},
        ...policy.questions.map((question, i) => questionRow(question, picture.answers[i])),
        ...picture.unasked.map(([claim, holds]) =>
          el("tr", { className: "unasked" }, cell(claim, "faint"), cell("not asked", "faint"), oracleCell(holds))),
      ),
    ),
  ];
}

function showPanel(key) {
  for (const panel of document.querySelectorAll(".panel")) panel.hidden = true;
  for (const button of document.querySelectorAll(".picture")) {
    const open = button.dataset.key === key;
    button.setAttribute("aria-expanded", String(open));
    if (!open) continue;
    const article = button.closest("article");
    const card = data.cards.find((one) => one.key === article.dataset.card);
    const [t, number] = key.slice(card.key.length + 1).split("-").map(Number);
    const policy = card.policies.find((one) => one.iteration === t);
    const panel = article.querySelector(".panel");
    panel.replaceChildren(...panelContent(policy, policy.pictures[number], number));
    panel.hidden = false;
  }
}

// --- what the state shows -------------------------------------------------------------------------------------------

/** Pictures for which the whole prompt holds, by policy, among the cards that are shown. */
function rates(one, cards) {
  const mine = cards.filter((card) => card.lmm === one.lmm);
  const parts = one.iterations.map((t, i) => {
    const all = mine.reduce((n, card) => n + card.policies[i].pictures.length, 0);
    return `${policyName(t)} ${mine.reduce((n, card) => n + card.held[i], 0)} of ${all}`;
  });
  return mine.length ? el("div", { className: "rates" }, `${one.lmm}, pictures that hold:`, ...parts.map((p) => el("span", {}, p))) : null;
}

function apply(state, unknown) {
  for (const [name, value] of Object.entries(state)) if (name !== "open") byId(`filter-${name}`).value = value;
  const byPicture = state.judged || state.role;
  const shown = new Set();
  let matching = 0;
  for (const card of data.cards) {
    const buttons = [...articles.get(card.key).querySelectorAll(".picture")];
    const matches = buttons.map((button) => passes(ofPicture, state, button.dataset));
    buttons.forEach((button, i) => button.classList.toggle("pale", !matches[i]));
    const show = passes(ofCard, state, card) && matches.some(Boolean);
    articles.get(card.key).hidden = !show;
    if (show) shown.add(card), (matching += matches.filter(Boolean).length);
  }
  const cards = state.sort ? [...data.cards].sort(ORDERS[state.sort]) : data.cards;
  const order = cards.map((card) => articles.get(card.key));
  // A node that is moved loses the focus, so nothing is moved unasked.
  if (order.some((article, i) => article !== byId("cards").children[i])) byId("cards").append(...order);
  showPanel(state.open);
  const changed = (name) => [...shown].filter((card) => card.change === name).length;
  byId("status").replaceChildren(
    el("p", {}, `${shown.size} of ${count(data.cards.length, "prompt")} shown: ${changed("improved")} improved, ` +
      `${changed("regressed")} regressed${byPicture ? `; ${count(matching, "picture")} match` : ""}.`),
    ...data.lmms.map((one) => rates(one, [...shown])).filter(Boolean),
    ...(unknown.length ? [el("p", { className: "fails" }, `No filter of this page: ${unknown.join(", ")}`)] : []),
  );
}

function change(part) {
  const state = { ...stateOfAddress().state, ...part };
  history.replaceState(null, "", addressOf(state));
  apply(state, []);
}

// --- start ----------------------------------------------------------------------------------------------------------

const articles = new Map(data.cards.map((card) => [card.key, cardElement(card)]));
const samplers = data.lmms.map((one) => `the ${one.lmm} LMM (${one.sampler})`).join(" and ");
byId("about").textContent = `Held-out prompts of ShapeWorld, drawn by every policy of ${samplers} with the same random ` +
  `numbers; seed ${data.seed}. Judged by the exact oracle.`;
for (const [name, { label, options }] of Object.entries(FILTERS)) {
  const select = el("select", { id: `filter-${name}` }, ...Object.entries(options).map(([value, text]) => el("option", { value }, text)));
  select.addEventListener("change", () => change({ [name]: select.value, open: "" }));
  byId("filters").append(el("label", {}, label, select));
}
const reset = el("button", { type: "button", id: "reset" }, "Show everything");
reset.addEventListener("click", () => change(Object.fromEntries([...Object.keys(FILTERS), "open"].map((name) => [name, ""]))));
byId("filters").append(reset);
byId("cards").addEventListener("click", (event) => {
  const button = event.target.closest(".picture");
  if (button) change({ open: button.getAttribute("aria-expanded") === "true" ? "" : button.dataset.key });
});
document.addEventListener("keydown", (event) => {
  const open = event.key === "Escape" && document.querySelector('.picture[aria-expanded="true"]');
  if (open) change({ open: "" }), open.focus();
});
const start = () => {
  const { state, unknown } = stateOfAddress();
  apply(state, unknown);
  document.querySelector('.picture[aria-expanded="true"]')?.scrollIntoView({ block: "center" });
};
window.addEventListener("hashchange", start);
start();
