// The panel beside the graph: all facts about the chosen generation.

import { downstream, nodes, parentOf, place, pools, statusOf } from "./data.js";
import { jump, leave, listed, make, shortened, toGeneration } from "./dom.js";
import { identifiers, table } from "./fields.js";
import { accuracy, cost, gate, identity, samples, sampled, tasks } from "./sections.js";
import { heading, panelHead, remark } from "./sources.js";
import { percent } from "./words.js";

const ROLES = { init: "initial weights", merged: "merged weights", data: "replayed answers" };

/** Counts of answers, in the order in which they arise. */
const COUNTS = ["prompts_drawn", "rollouts", "passed", "failed", "unverifiable", "trained", "replayed"];

/** Makes the panel's elements. `actions`: close, and taint, which marks generations. */
export function describe(node, actions) {
  return [
    panelHead(node.name, make("span", { class: "badge " + statusOf(node) }, statusOf(node)), actions, besides(node)),
    make("p", {}, node.reason), ...elsewhere(node), ...madeFrom(node), ...ledTo(node, actions), ...changed(node),
    ...learntFrom(node), ...signs(node), ...gate(node), ...accuracy(node), ...tasks(node), ...sampled(node),
    ...samples(node), ...cost(node),
    ...(node.isWhole ? [] : [remark(`The page holds the newest generations in full; bootstrap show ${node.name} ` +
      "prints the rest of this one.")]),
    ...run(node), ...identity(node)];
}

/** Links to the generation's pages in MLflow, where links can leave the page's frame. */
function elsewhere(node) {
  const links = Object.entries(node.links).map(([name, address]) => leave(address, name)).filter(Boolean);
  return links.length ? [make("p", {}, ...listed(links))] : [];
}

const besides = node => [nodes[node.number - 1], nodes[node.number + 1]].map((one, index) => one &&
  make("a", { href: "#" + one.name, class: "plain", "aria-label": (index ? "next: " : "previous: ") + one.name },
    index ? "→" : "←"));

function madeFrom(node) {
  const roles = new Map();
  for (const edge of node.edges) {
    const source = edge.from === null
      ? make("span", {}, jump(edge.model.id, edge.model.source), " (outside the lineage)") : toGeneration(edge.from);
    roles.set(edge.role, [...(roles.get(edge.role) || []), source]);
  }
  if (node.data.length) {
    roles.set("data", node.data.map(one => jump(pools[one].id, `of gen-${pools[one].producer}`)));
  }
  const body = [...roles].map(([role, links]) => [ROLES[role] || role, shortened(links)]);
  body.push(["held-out prompts", jump(place("suite", node.suite), node.suite.slice(0, 12))]);
  const alone = node.number === 0 ? "the recipe's base model; it has no ancestors" : "fresh weights";
  return [heading("Made from"), ...(node.edges.length ? [] : [remark(alone)]),
    table(["role", "source"], body, { isText: true })];
}

function ledTo(node, { taint }) {
  const roles = new Map([["started from it", node.children]]);
  for (const { role, number } of node.users) roles.set(role, [...(roles.get(role) || []), number]);
  const trained = pools.filter(pool => pool.producer === node.number).flatMap(pool => pool.users);
  roles.set("trained on its answers", trained);
  const body = [...roles].filter(([, numbers]) => numbers.length).map(([role, numbers]) =>
    [role, shortened([...new Set(numbers)].map(toGeneration))]);
  if (!body.length) return [heading("Led to"), remark("nothing so far")];
  const all = downstream(one => one.number === node.number);
  return [heading("Led to"), table(["as", "generation"], body, { isText: true }),
    make("p", {}, make("button", { class: "plain", type: "button", onclick: () => taint(all, "downstream") },
      `mark all downstream: ${all.size - 1}`))];
}

function changed(node) {
  const parent = parentOf(node);
  if (!parent) return [];
  const body = node.changes.map(({ key, before, after }) => [make("span", { class: "long" }, key),
    make("span", { class: "long" }, before || "–"), make("span", { class: "long" }, after || "–")]);
  return [make("h3", {}, "Settings changed from ", toGeneration(parent.number)),
    body.length ? table(["setting", parent.name, node.name], body, { isText: true }) : remark("none")];
}

/** What passed along the edge from the parent: answers, and what became of them. */
function learntFrom(node) {
  const counted = node.accounting, judged = counted.passed + counted.failed;
  const body = [
    ...COUNTS.filter(name => counted[name]).map(name =>
      [name.replaceAll("_", " "), counted[name].toLocaleString("en")]),
    ...Object.entries(counted.dropped || {}).map(([reason, value]) =>
      ["no gradient: " + reason, value.toLocaleString("en")]),
    ...(judged ? [["verifier's pass rate", percent(counted.passed / judged)]] : []),
  ];
  const ended = Object.entries(counted.ended || {}).map(([step, why]) => remark(`${step} ${why}`));
  return body.length ? [heading("Learnt from"), ...ended, table(["", ""], body)] : [];
}

function signs(node) {
  const body = Object.entries(node.diagnostics).filter(([, value]) => value !== null).map(([name, value]) =>
    [name.replaceAll("_", " "), String(Number(value.toPrecision(3)))]);
  const broken = node.findings.map(one => make("p", { class: "down" },
    `${one.metric.replaceAll("_", " ")} ${Number(one.value.toPrecision(3))} is ` +
    `${one.side === "min" ? "below" : "above"} ${one.bound} (${one.action.replaceAll("_", " ")})`));
  return body.length || broken.length ? [heading("Signs of collapse"), ...broken, table(["", ""], body)] : [];
}

function run(node) {
  const facts = [["started", node.started], ["host", node.host], ...Object.entries(node.environment)];
  return [heading("Run"), identifiers(facts.filter(([, value]) => value)
    .map(([name, value]) => [name.replaceAll("_", " "), value]))];
}
