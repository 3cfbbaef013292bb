"""The page that a browser gets at `/`: what is served, and a form to try it.

The page keeps nothing but in its own memory, and may talk to this API only.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from backend.documentation import ICON, own_page_policy
from backend.follower import Follower

_STYLE = """
:root { color-scheme: light dark; --line: #8885; --soft: #8881; --accent: light-dark(#0072b2, #56b4e9);
  --on: light-dark(#fff, #06121a); --bad: light-dark(#a63a00, #ff9a5c); --other: light-dark(#b35900, #e69f00); }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2.5rem auto; padding: 0 1rem; }
h1 { margin: 0 0 .25rem; line-height: 1.2; } h2 { font-size: 1.15rem; margin: 0 0 .75rem; }
p { margin: 0 0 1rem; }
section { border: 1px solid var(--line); border-radius: .75rem; padding: 1.25rem; margin: 1.25rem 0; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .4rem .6rem .4rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
label { display: block; font-weight: 600; margin-bottom: .2rem; }
small { display: block; opacity: .75; font-weight: 400; }
input, select { width: 100%; font: inherit; padding: .5rem .6rem; border: 1px solid #8889; border-radius: .5rem;
  background: Field; color: FieldText; min-height: 2.75rem; }
#fields { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: .9rem 1rem; margin: 1rem 0;
  align-items: end; }
button { font: inherit; font-weight: 600; padding: .6rem 1rem; border-radius: .5rem; border: 1px solid #8889;
  background: transparent; color: inherit; cursor: pointer; min-height: 2.75rem; }
button.main { background: var(--accent); border-color: var(--accent); color: var(--on); }
button:disabled { opacity: .5; cursor: default; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.row { display: flex; flex-wrap: wrap; gap: .6rem; }
.wide { overflow-x: auto; }
[role=status] { margin: 1rem 0 0; font-weight: 600; color: var(--bad); white-space: pre-line; }
[role=status]:empty { margin: 0; }
#headline { font-size: 1.6rem; line-height: 1.25; font-weight: 700; margin: 0; }
#under { margin: .25rem 0 1rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .3rem 1.25rem; margin: 0 0 1rem; }
dt { opacity: .75; } dd { margin: 0; overflow-wrap: anywhere; }
.bars { display: grid; grid-template-columns: max-content 1fr max-content; gap: .35rem .75rem; align-items: center; }
.bars span:nth-child(3n) { text-align: right; font-variant-numeric: tabular-nums; }
.bar { height: .8rem; border-radius: .25rem; background: var(--accent); min-width: 2px; }
.bar.less { background: var(--other); }
pre { background: var(--soft); border-radius: .5rem; padding: .75rem; margin: .5rem 0 0; overflow-x: auto;
  font-size: .85rem; }
summary { cursor: pointer; }
[hidden] { display: none !important; }
@media (max-width: 30rem) { body { margin-top: 1.25rem; } #fields { grid-template-columns: 1fr; }
  .row button { flex: 1 1 100%; } dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: .5rem; }
  .bars { grid-template-columns: 1fr max-content; } .bars span:nth-child(3n+1) { grid-column: 1 / 3; } }
"""

_SCRIPT = """
"use strict";
const $ = (id) => document.getElementById(id);
let model = null;

const number = (value, digits) => new Intl.NumberFormat("en", { maximumSignificantDigits: digits || 6 }).format(value);
const readable = (value) => typeof value === "number" ? number(value) : value === null ? "unknown" : String(value);

function make(kind, text, more) {
  const made = Object.assign(document.createElement(kind), more || {});
  if (text !== undefined) made.textContent = text;
  return made;
}

function headers() {
  const token = $("token").value.trim();
  return token ? { authorization: "Bearer " + token } : {};
}

async function ask(path, body) {
  const options = body === undefined ? { headers: headers() } : {
    method: "POST", headers: { ...headers(), "content-type": "application/json" }, body: JSON.stringify(body),
  };
  let answer, told;
  try {
    answer = await fetch(path, options);
    told = await answer.json();
  } catch {
    $("status").textContent = "The API can't be reached.";
    return null;
  }
  if (answer.ok) return told;
  if (answer.status === 401 || answer.status === 403) $("who").hidden = false;
  const faults = (told.errors || []).map((each) => each.field + ": expected " + each.expected + ". " + each.remedy);
  $("status").textContent = [told.detail || told.title, ...faults].join("\\n");
  return null;
}

function field(name, label, hint, value, categories) {
  const around = make("div"), id = "field-" + name;
  const title = make("label", label, { htmlFor: id });
  title.append(make("small", hint));
  let input;
  if (categories && categories.length) {
    input = make("select");
    input.append(make("option", "unknown", { value: "" }), ...categories.map((each) => make("option", each)));
  } else {
    input = make("input", undefined, { autocomplete: "off" });
    if (typeof value === "number") input.inputMode = "decimal";
  }
  Object.assign(input, { id, name, value: value ?? "" });
  if (categories && categories.length && value) {
    input.value = categories.find((each) => each.toLowerCase() === String(value).toLowerCase()) || "";
  }
  around.append(title, input);
  return around;
}

function called(name) {
  const known = [...model.features, ...model.request_columns].find((each) => each.name === name);
  return known && known.title ? known.title.en : name;
}

function range(feature) {
  const unit = feature.unit.en;
  const low = feature.minimum, high = feature.maximum;
  const span = low !== null && high !== null ? number(low) + " to " + number(high) : low !== null
    ? "from " + number(low) : high !== null ? "up to " + number(high) : "";
  return [unit, span, feature.used === false ? "not used by this version" : ""].filter(Boolean).join(" · ");
}

async function choose() {
  $("status").textContent = "";
  $("answer").hidden = true;
  model = await ask("/models/" + $("model").value);
  $("fields").replaceChildren();
  if (!model) return;
  $("question").textContent = model.question.en;
  if (model.task === "forecasting") {
    $("fields").append(make("p", "Nothing to fill in: it looks at the newest rows of its table."));
    return;
  }
  const columns = model.request_columns.map((each) =>
    field(each.name, each.name, each.meaning.en, model.example[each.name]));
  const features = model.features.map((each) =>
    field(each.name, each.title.en, range(each), model.example[each.name], each.categories));
  $("fields").append(...columns, ...features);
}

function body() {
  if (model.task === "forecasting") return {};
  const values = {};
  const kinds = Object.fromEntries([...model.request_columns, ...model.features].map((each) => [each.name, each.kind]));
  for (const input of $("fields").querySelectorAll("input, select")) {
    const text = input.value.trim();
    const plain = ["number", "integer"].includes(kinds[input.name]);
    const parsed = Number(text);
    values[input.name] = text === "" ? null : plain && !Number.isNaN(parsed) ? parsed : text;
  }
  return values;
}

function headline(answer) {
  const unit = model.target && model.target.unit ? " " + model.target.unit.en : "";
  const span = answer.interval && number(answer.interval.low) + " to " + number(answer.interval.high) + unit
    + " in " + Math.round(answer.interval.confidence * 100) + " of 100 cases";
  if (model.task === "classification") {
    return [answer.prediction, "Probability " + Math.round(answer.probability * 100) + " %"];
  }
  if (model.task === "regression") {
    return [number(answer[model.target.name]) + unit, [span, answer.segment].filter(Boolean).join(" · ")];
  }
  if (model.task === "forecasting") {
    return [number(answer["next_" + model.target.name]) + unit,
      span + " · if nothing moves: " + number(answer.naive_forecast) + " · " + answer.note.en];
  }
  return [answer.cluster_label || answer.segment, "Distance to the centre " + number(answer.distance_to_center, 3)];
}

function lines(answer) {
  const mock = model.data && model.data.origin === "mock" ? " (mock)" : "";
  const told = [["Version", answer.model_version + ", data " + answer.data_version + mock]];
  for (const reason of (answer.reasons || []).slice(0, 5)) told.push(["Reason", reason.text.en]);
  for (const [name, gap] of Object.entries(answer.gap_to_next_level || {})) {
    if (gap) told.push(["To the next level", called(name) + " " + (gap > 0 ? "+" : "") + number(gap, 3)]);
  }
  const lists = { out_of_training_range: "Outside of the training data", filled_in: "Unknown, filled in",
    unseen_categories: "Unknown category" };
  for (const [name, title] of Object.entries(lists)) {
    if (answer[name] && answer[name].length) told.push([title, answer[name].map(called).join(", ")]);
  }
  return told.flatMap(([term, text]) => [make("dt", term), make("dd", text)]);
}

function bars(why) {
  const most = Math.max(...why.contributions.map((each) => Math.abs(each.contribution)), 1e-300);
  return why.contributions.filter((each) => each.contribution).slice(0, 10).flatMap((each) => {
    const bar = make("div", undefined, { className: each.contribution < 0 ? "bar less" : "bar" });
    bar.style.width = (100 * Math.abs(each.contribution) / most) + "%";
    const amount = (each.contribution > 0 ? "+" : "") + number(each.contribution, 3);
    const around = make("span");
    around.append(bar);
    return [make("span", called(each.feature) + " = " + readable(each.value)), around, make("span", amount)];
  });
}

async function predict(event) {
  event.preventDefault();
  if (!model) return;
  $("status").textContent = "";
  $("go").disabled = true;
  const sent = body();
  const answer = await ask("/models/" + model.name + "/predict", sent);
  const why = answer && await ask("/models/" + model.name + "/explain", sent);
  $("go").disabled = false;
  $("answer").hidden = !answer;
  if (!answer) return;
  const [main, under] = headline(answer);
  $("headline").textContent = main;
  $("under").textContent = under;
  $("lines").replaceChildren(...lines(answer));
  $("why").hidden = !why || !why.contributions.some((each) => each.contribution);
  if (why) {
    $("against").textContent = "What adds to the " + why.explained.en + ", compared with " + why.baseline_is.en
      + " (" + number(why.baseline, 4) + " " + why.unit.en + ").";
    $("bars").replaceChildren(...bars(why));
  }
  $("raw").textContent = JSON.stringify(answer, null, 1);
  $("answer").scrollIntoView({ block: "nearest" });
}

$("model").addEventListener("change", choose);
$("again").addEventListener("click", choose);
$("token").addEventListener("change", () => { if (!model) choose(); });
$("try").addEventListener("submit", predict);
choose();
"""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sigap API</title>
<link rel="icon" href="{icon}">
<style>{style}</style>
</head>
<body>
<main>
<h1>Sigap API</h1>
<p>Answers with the champions of the model registry.
<a href="/docs">Swagger UI</a> · <a href="/redoc">ReDoc</a> · <a href="/token-dashboard">Token</a> ·
<a href="/health">Health</a> · <a href="/metrics">Metrics</a></p>
<form id="try">
<section>
<h2>Try a prediction</h2>
<label for="model">Model</label>
<select id="model">{options}</select>
<p id="question"></p>
<div id="who" hidden><label for="token">Token <small>from the <a href="/token-dashboard">token page</a>; it is kept in
this page only</small></label><input id="token" type="password" autocomplete="off"></div>
<div id="fields"></div>
<div class="row"><button class="main" id="go">Predict</button>
<button type="button" id="again">The example again</button>
</div>
<p id="status" role="status"></p>
</section>
</form>
<section id="answer" aria-live="polite" hidden>
<p id="headline"></p>
<p id="under"></p>
<dl id="lines"></dl>
<div id="why"><h2>Why</h2><p id="against"></p><div id="bars" class="bars"></div></div>
<p></p>
<details><summary>The whole answer as JSON</summary><pre id="raw"></pre></details>
</section>
<section class="wide">
<h2>What is served</h2>
<table>
<thead><tr><th>Model</th><th>Version</th><th>Data</th></tr></thead>
<tbody>{rows}</tbody>
</table>
</section>
</main>
<script>{script}</script>
</body>
</html>
"""


# A bar's width is set by the script on the element itself, which the policy allows; attributes in the HTML it does not.
POLICY = own_page_policy(_STYLE, _SCRIPT)


def page(followers: Mapping[str, Follower], default: str) -> str:
    """The page's HTML; `default` is the model chosen at first."""
    return _PAGE.format(
        icon=ICON,
        style=_STYLE,
        script=_SCRIPT,
        options="".join(_option(follower, name == default) for name, follower in followers.items()),
        rows="".join(_row(follower) for follower in followers.values()),
    )


def _option(follower: Follower, chosen: bool) -> str:
    declared = follower.declaration
    mark = " selected" if chosen else ""
    return f'<option value="{escape(declared.name)}"{mark}>{escape(declared.title.en)}</option>'


def _row(follower: Follower) -> str:
    served = follower.served
    title = escape(follower.declaration.title.en)
    if served is None:
        why = escape(follower.refusal.text) if follower.refusal else "not trained yet"
        return f'<tr><td>{title}</td><td colspan="2">{why}</td></tr>'
    name = escape(follower.declaration.name)
    held = ", held by hand" if follower.held else ""
    version, data = escape(served.model_version), escape(served.manifest.data.version)
    data += " (mock)" if served.manifest.data.origin == "mock" else ""
    return f'<tr><td><a href="/models/{name}">{title}</a></td><td>{version}{held}</td><td>{data}</td></tr>'
