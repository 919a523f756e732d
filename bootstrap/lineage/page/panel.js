// The panel beside the page: all that is known of the chosen generation.

import { data, parentOf, statusOf } from "./data.js";
import { make } from "./dom.js";
import { duration, levels, percent, si, signed } from "./words.js";

const ROLES = { init: "starting weights", merged: "merged weights", data: "replayed answers" };

/** Fills the panel. `close`: called when the reader has seen enough. */
export function describe(panel, node, close) {
  panel.replaceChildren(
    make("header", {}, make("h2", {}, node.name),
      make("span", { class: "badge " + statusOf(node) }, statusOf(node)),
      make("button", { class: "plain", type: "button", onclick: close }, "close")),
    make("p", {}, node.reason),
    ...madeFrom(node), ...gate(node), ...accuracy(node), ...sampled(node), ...cost(node), ...accounting(node),
    ...samples(node), ...identity(node));
  panel.scrollTop = 0;
}

const heading = text => make("h3", {}, text);
const remark = text => make("p", { class: "sub" }, text);
const orDash = (value, show) => value === null ? "–" : show(value);

function madeFrom(node) {
  const roles = new Map();
  for (const edge of data.edges.filter(one => one.to === node.number)) {
    const source = edge.from === null ? edge.source + " (outside the lineage)" : edge.source;
    roles.set(edge.role, [...(roles.get(edge.role) || []), source]);
  }
  const body = [...roles].map(([role, list]) =>
    [ROLES[role] || role, make("span", { class: "long" }, list.join(", "))]);
  const alone = node.number === 0 ? "the recipe's base model; it has no ancestors" : "fresh weights";
  return [heading("Made from"), body.length ? table(["role", "generation"], body) : remark(alone),
    ...(node.children.length ? [remark("weights passed on to " + node.children.join(", "))] : [])];
}

function gate(node) {
  const against = node.compared_with === null ? "" : `, compared with gen-${node.compared_with}`;
  const head = ["test", "levels", "n", "own", "before", "+", "−", "p", "Δ ≥", ""];
  const body = node.gate_tests.map(row => [row.test, row.levels.join(", "), String(row.num_prompts),
    (100 * row.candidate).toFixed(1), (100 * row.champion).toFixed(1), String(row.gained), String(row.lost),
    orDash(row.p_value, p => p < 1e-4 ? "<1e-4" : p.toPrecision(2)), (100 * row.difference_low).toFixed(1),
    make("span", { class: row.passed ? "up" : "down" }, row.passed ? "✓" : "✗")]);
  const notes = node.gate_tests.map(row => [
    row.alpha === null ? "" : "alpha " + Number(row.alpha.toPrecision(3)),
    row.margin === null ? "" : `may fall by ${(100 * row.margin).toFixed(1)} points`,
    row.reference.length ? "compared with " + row.reference.map(number => "gen-" + number).join(", ") : "",
  ].filter(Boolean).join(" · "));
  return [heading("Gate"), remark(`aims at ${levels(node.target_levels)}` + against),
    ...(body.length ? [table(head, body, notes)] : [])];
}

function accuracy(node) {
  const parent = parentOf(node), known = Object.keys(node.accuracy).map(Number).toSorted((a, b) => a - b);
  const body = known.map(level => {
    const own = node.accuracy[level], before = parent && parent.accuracy[level];
    return [level + (node.target_levels.includes(level) ? " ◂" : ""), meter(own), percent(own.accuracy),
      `${(100 * own.low).toFixed(1)}–${(100 * own.high).toFixed(1)}`,
      before ? signed(own.accuracy - before.accuracy) : "–"];
  });
  return [heading("Held-out accuracy"), table(["level", "", "accuracy", "interval", "vs parent"], body)];
}

function sampled(node) {
  if (!node.sampled.length) return [];
  const body = node.sampled.map(row => [String(row.level),
    ...[row.pass_at_1, row.pass_at_k, row.majority_at_k].map(value => orDash(value, percent)), String(row.k),
    orDash(row.entropy, value => value.toFixed(2))]);
  return [heading("Sampled"), table(["level", "pass@1", "pass@k", "majority@k", "k", "entropy"], body)];
}

/** Gives the rows of a cost's phases. `show`: how a number of its kind is written. */
const phases = (costs, show) => Object.entries(costs).filter(([name]) => !["total", "useful"].includes(name))
  .map(([name, value]) => [name, show(value)]);

function cost(node) {
  const share = node.useful_share === null ? "" : ` (${percent(node.useful_share)} of generated)`;
  return [heading("Cost"),
    table(["tokens", ""], [...phases(node.tokens, si), ["useful", si(node.tokens.useful) + share]]),
    table(["FLOP", ""], [...phases(node.flops, si), ["total", si(node.flops.total)]]),
    table(["time", ""], [...phases(node.seconds, duration), ["total", duration(node.seconds.total)]])];
}

function accounting(node) {
  const { dropped, ...counted } = node.accounting;
  return [heading("Accounting"), table(["prompts and rollouts", ""], [
    ...Object.entries(counted).map(([name, value]) => [name.replaceAll("_", " "), String(value)]),
    ...Object.entries(dropped).map(([reason, value]) => ["no gradient: " + reason, String(value)])])];
}

function samples(node) {
  if (!node.samples.length) return [];
  return [heading("Sample answers"), ...node.samples.map(sample => {
    const known = ["PASS", "FAIL"].includes(sample.verdict) ? sample.verdict : "";
    const reward = sample.reward === null ? null : "reward " + sample.reward;
    const told = [sample.verdict, reward, sample.reason, sample.rollout].filter(Boolean).join(" · ");
    return make("div", { class: "sample " + known }, make("pre", {}, `${sample.prompt}${sample.answer}`),
      make("div", { class: "sub" }, told));
  })];
}

function identity(node) {
  const artifacts = Object.entries(node.artifacts);
  return [
    heading("Identity"), identifiers([["fingerprint", node.fingerprint], ["ledger hash", node.hash],
      ["recipe", node.recipe_digest], ["code", node.code_version], ["suite", node.suite], ["seed", String(node.seed)],
      ...Object.entries(node.identifiers),
      ...Object.entries(node.verifiers).map(([name, version]) => ["verifier " + name, version])]),
    heading("Artifacts"),
    identifiers(artifacts.flatMap(([role, ref]) => [[role, ref.path], [role + " sha256", ref.digest]]))];
}

/** Makes a table. `notes`: by row, what stands below it across all columns; nothing where it is empty. */
function table(head, body, notes = []) {
  const made = make("table", {}, make("tr", {}, ...head.map(text => make("th", { scope: "col" }, text))));
  body.forEach((cells, index) => {
    made.append(make("tr", {}, ...cells.map(text => make("td", {}, text))));
    if (notes[index]) {
      made.append(make("tr", { class: "note" }, make("td", { colspan: String(head.length) }, notes[index])));
    }
  });
  return made;
}

/** Makes fields of ids, each with a button that copies it. */
function identifiers(pairs) {
  const box = make("div", { class: "ids" });
  for (const [name, value] of pairs) {
    const input = make("input",
      { readonly: "", value, "aria-label": name, onfocus: event => event.target.select() });
    const copy = make("button", { class: "plain", type: "button", "aria-label": "copy " + name, onclick: () => {
      // The page may run in a frame without origin, where the clipboard interface is refused and this is not.
      input.select();
      copy.textContent = document.execCommand("copy") ? "copied" : "select";
      setTimeout(() => { copy.textContent = "copy"; }, 1200);
    } }, "copy");
    box.append(make("span", {}, name), input, copy);
  }
  return box;
}

/** Draws an accuracy as a bar, with its interval as a line. */
function meter(measured) {
  const bar = make("b", {}), mark = make("i", {});
  bar.style.width = 100 * measured.accuracy + "%";
  mark.style.left = 100 * measured.low + "%";
  mark.style.width = Math.max(2, 100 * (measured.high - measured.low)) + "%";
  return make("span", { class: "meter" }, bar, mark);
}
