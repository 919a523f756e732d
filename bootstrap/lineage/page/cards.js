// Cards of generations, labels of models outside the lineage, and cards that stand for several generations.

import { outsideOf, statusOf } from "./data.js";
import { jump, make } from "./dom.js";
import { duration, flop, learnt, learntBriefly, percent, si, signed } from "./words.js";

const BADGES = {
  champion: "★ champion", promoted: "promoted", rejected: "rejected", ungated: "ungated", base: "base",
};
const MARGIN =
  "in brackets: generalization margin, levels beyond those trained with at least half of the answers right";

/** Makes a generation's card. `density`: roomy, compact or dots. */
export function card(node, density) {
  const best = node.headline === null ? null : node.accuracy[node.headline];
  const tutors = outsideOf(node, "teacher").map(model => model.source);
  const forked = node.forked_from ? `, forked from ${node.forked_from}` : "";
  const taught = tutors.length ? `, taught by ${tutors.join(", ")} from outside the lineage` : "";
  const element = jump(node.name);
  element.className = ["node", node.status, node.on_path && "path", statusOf(node) === "champion" && "champion",
    (forked || taught) && "taught"].filter(Boolean).join(" ");
  element.dataset.number = node.number;
  element.setAttribute("aria-label",
    `${node.name}, ${statusOf(node)}, frontier ${node.frontier}${forked}${taught}. ${node.reason}`);
  if (density === "dots") {
    element.title = `${node.name}, ${statusOf(node)}: ${node.reason}`;
    element.append(String(node.number));
    return element;
  }
  element.append(make("span", { class: "top" }, make("b", {}, node.name),
    make("span", { class: "badge " + statusOf(node) }, BADGES[statusOf(node)])));
  if (best && density === "compact") {
    element.append(make("span", { class: "big" }, percent(best.accuracy),
      make("small", {}, ` L${node.headline} · frontier ${node.frontier}`)));
    return element;
  }
  element.append(make("span", { class: "line" }, make("code", {}, node.fingerprint.slice(0, 8)),
    node.stage ? ` · stage ${node.stage}` : ""));
  if (best) element.append(
    make("span", { class: "big" }, percent(best.accuracy), " ",
      node.gain === null ? null : make("small", {}, signed(node.gain))),
    make("span", { class: "line" },
      `level ${node.headline} · ${(100 * best.low).toFixed(1)}–${(100 * best.high).toFixed(1)}`));
  if (node.accounting.rollouts) {
    element.append(make("span", { class: "line", title: learnt(node) }, learntBriefly(node)));
  }
  if (node.status !== "rejected") element.append(
    make("span", { class: "line", title: MARGIN },
      `frontier ${node.frontier}` + (node.generalization_margin ? ` (+${node.generalization_margin})` : "") +
      ` · ${duration(node.seconds.total)}`),
    make("span", { class: "line" }, `${si(node.tokens.total)} tokens · ${flop(node.flops.total)}`));
  element.append(make("span", { class: "reason", title: node.reason }, node.reason.replace(/^rejected: /, "")));
  return element;
}

/** Makes the label of a model outside the lineage, which has no card, for the card of the generation that it taught or
 * gave its weights to. Null without such a model. */
export function label(node) {
  const [origin] = outsideOf(node, "init"), tutors = outsideOf(node, "teacher"), [model] = origin ? [origin] : tutors;
  if (!model) return null;
  const words = origin
    ? (node.forked_from ? "forked from " : "from ") + origin.source
    : "teacher: " + tutors.map(tutor => tutor.source).join(", ");
  const element = jump(model.id, words);
  element.className = origin ? "outside origin" : "outside";
  element.dataset.of = node.number;
  element.title = words + (origin ? "" : " (outside the lineage)");
  return element;
}

/** Makes the card that stands for several generations. `why`: earlier, later or promotions. */
export function foldCard(part, why, open) {
  const rejected = part.filter(node => node.status === "rejected").length;
  const first = part[0], last = part[part.length - 1];
  const told = why === "promotions" ? `frontier ${first.frontier} to ${last.frontier}` : `${rejected} rejected`;
  return make("button", { class: "node fold", type: "button", onclick: open, "data-first": String(first.number),
    title: `${first.name} to ${last.name}, ${told}` },
    make("span", { class: "top" }, make("b", {}, `${part.length} ${why}`), make("span", { class: "badge" }, "show")),
    make("span", { class: "line" }, `${first.number}–${last.number}, ${told}`));
}
