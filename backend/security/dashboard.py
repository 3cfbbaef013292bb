"""The page at `/token-dashboard`: get a token for a key, look at it, take a curl along, revoke it.

The page holds no secret, keeps nothing but in its own memory, and may talk to this API only.
"""

from __future__ import annotations

from backend.documentation import ICON, own_page_policy

_STYLE = """
:root { color-scheme: light dark; --line: #8885; --soft: #8881; --accent: light-dark(#0072b2, #56b4e9);
  --on: light-dark(#fff, #06121a); --good: light-dark(#00664a, #3ecf9f); --bad: light-dark(#a63a00, #ff9a5c); }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 44rem; margin: 3rem auto; padding: 0 1rem; }
h1 { margin: 0 0 .25rem; line-height: 1.2; }
p { margin: 0 0 1rem; }
section { border: 1px solid var(--line); border-radius: .75rem; padding: 1.25rem; margin: 1.5rem 0; }
label, legend { display: block; font-weight: 600; margin-bottom: .3rem; padding: 0; }
fieldset { border: 0; margin: 1rem 0; padding: 0; display: flex; flex-wrap: wrap; gap: .25rem 1.5rem; }
legend { float: left; width: 100%; }
fieldset label { font-weight: 400; display: flex; gap: .5rem; align-items: center; margin: 0; }
input[type=password] { width: 100%; font: inherit; padding: .6rem .7rem; border: 1px solid #8889; border-radius: .5rem;
  background: Field; color: FieldText; }
button { font: inherit; font-weight: 600; padding: .6rem 1rem; border-radius: .5rem; border: 1px solid #8889;
  background: transparent; color: inherit; cursor: pointer; min-height: 2.75rem; }
button.main { background: var(--accent); border-color: var(--accent); color: var(--on); }
button:disabled { opacity: .5; cursor: default; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.row { display: flex; flex-wrap: wrap; gap: .6rem; margin-top: 1rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .3rem 1.25rem; margin: 0 0 1rem; }
dt { opacity: .75; } dd { margin: 0; overflow-wrap: anywhere; }
.tag { display: inline-block; border: 1px solid var(--accent); border-radius: 1rem; padding: 0 .6rem;
  margin-right: .4rem; font-size: .9rem; }
pre { background: var(--soft); border-radius: .5rem; padding: .75rem; margin: 0; overflow-x: auto; font-size: .85rem;
  white-space: pre-wrap; overflow-wrap: anywhere; }
progress { width: 100%; height: .5rem; accent-color: var(--accent); }
[role=status] { min-height: 1.5em; margin: 0; font-weight: 600; }
.good { color: var(--good); } .bad { color: var(--bad); }
[hidden] { display: none; }
@media (max-width: 30rem) { body { margin-top: 1.25rem; } .row button { flex: 1 1 100%; }
  dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: .5rem; } }
"""

_SCRIPT = """
"use strict";
const $ = (id) => document.getElementById(id);
let token = "", ends = 0, lasts = 1, body = "{}";

function say(text, good) {
  $("status").textContent = text;
  $("status").className = good ? "good" : "bad";
}

async function ask(path, options) {
  try {
    const answer = await fetch(path, options);
    const told = await answer.json();
    if (answer.ok) return told;
    say(told.detail || told.title || "The API answered " + answer.status + ".", false);
  } catch {
    say("The API can't be reached.", false);
  }
  return null;
}

const bearer = () => ({ authorization: "Bearer " + token });

function curl(shown) {
  return "curl -X POST " + location.origin + "/predict \\\\\\n" +
    '  -H "Authorization: Bearer ' + shown + '" \\\\\\n' +
    '  -H "Content-Type: application/json" \\\\\\n' +
    "  -d '" + body.replaceAll("'", "'\\\\''") + "'";
}

function show(state) {
  $("name").textContent = state.name;
  $("scopes").replaceChildren(...state.scopes.map((scope) => {
    const tag = document.createElement("span");
    tag.className = "tag";
    tag.textContent = scope;
    return tag;
  }));
  ends = Date.now() + state.expires_in * 1000;
  $("curl").textContent = curl(token.slice(0, 12) + "…");
  $("yours").hidden = false;
  tick();
}

function tick() {
  if (!token) return;
  const left = Math.max(0, Math.round((ends - Date.now()) / 1000));
  const minutes = Math.floor(left / 60);
  $("left").textContent = left ? minutes + " min " + (left % 60) + " s" : "expired";
  $("bar").value = left / lasts;
}

function forget() {
  token = "";
  $("yours").hidden = true;
}

// Where reading needs a token too, the example has to wait for one.
async function example() {
  try {
    const answer = await fetch("/openapi.json", { headers: bearer() });
    const post = (await answer.json()).paths["/predict"].post;
    body = JSON.stringify(post.requestBody.content["application/json"].example);
  } catch { /* The call is shown with an empty body. */ }
}

async function copied(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    say(what + " is copied.", true);
  } catch {
    say("The browser did not let the page copy.", false);
  }
}

$("get").addEventListener("submit", async (event) => {
  event.preventDefault();
  const scopes = [...document.querySelectorAll("input[name=scope]:checked")].map((box) => box.value);
  const asked = { api_key: $("key").value.trim() };
  if (scopes.length) asked.scopes = scopes;
  const told = await ask("/token", {
    method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(asked),
  });
  if (!told) return;
  token = told.access_token;
  lasts = Math.max(1, told.expires_in);
  $("key").value = "";
  const state = await ask("/validate-token", { headers: bearer() });
  if (!state) return;
  await example();
  show(state);
  say("Here is your token.", true);
});

$("validate").addEventListener("click", async () => {
  const state = await ask("/validate-token", { headers: bearer() });
  if (!state) return;
  show(state);
  say("The token is valid.", true);
});

$("revoke").addEventListener("click", async () => {
  const told = await ask("/token/revoke", { method: "POST", headers: bearer() });
  if (!told) return;
  forget();
  say("The token is revoked.", true);
});

$("copy").addEventListener("click", () => copied(token, "The token"));
$("copy-curl").addEventListener("click", () => copied(curl(token), "The call"));
setInterval(tick, 1000);
"""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sigap API: tokens</title>
<link rel="icon" href="{icon}">
<style>{style}</style>
</head>
<body>
<main>
<h1>Sigap API: tokens</h1>
<p>An API key gets a token, and the token goes with each call. <code>./run key create NAME</code> makes a key.</p>
<section aria-labelledby="get-title">
<form id="get">
<h2 id="get-title" hidden>Get a token</h2>
<label for="key">API key</label>
<input type="password" id="key" required maxlength="200" autocomplete="off" spellcheck="false">
<fieldset>
<legend>What the token may do</legend>
<label><input type="checkbox" name="scope" value="predict">predict</label>
<label><input type="checkbox" name="scope" value="admin">admin</label>
</fieldset>
<p>Without a choice: all that the key may.</p>
<button class="main" type="submit">Get a token</button>
</form>
</section>
<p id="status" role="status"></p>
<section id="yours" aria-label="Your token" hidden>
<dl>
<dt>Key</dt><dd id="name"></dd>
<dt>Scopes</dt><dd id="scopes"></dd>
<dt>Time left</dt><dd id="left"></dd>
</dl>
<progress id="bar" max="1" value="1" aria-label="Time left"></progress>
<div class="row">
<button class="main" id="copy" type="button">Copy the token</button>
<button id="validate" type="button">Validate</button>
<button id="revoke" type="button">Revoke</button>
</div>
<h2>A call with it</h2>
<pre id="curl"></pre>
<div class="row"><button id="copy-curl" type="button">Copy the call</button></div>
</section>
<p><a href="/">Sigap API</a> · <a href="/docs">Swagger UI</a></p>
</main>
<script>{script}</script>
</body>
</html>
"""


PAGE = _PAGE.format(icon=ICON, style=_STYLE, script=_SCRIPT)
POLICY = own_page_policy(_STYLE, _SCRIPT)
