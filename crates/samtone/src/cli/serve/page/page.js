"use strict";
(() => {
  const get = (id) => document.getElementById(id);
  const [access, ask, status, error, hits] = ["access", "ask", "status", "error", "hits"].map(get);
  let token = "";
  // What was asked last: an earlier answer that comes late is not shown.
  let asked = 0;

  const send = async (path, body) => {
    const headers = token ? { Authorization: `Bearer ${token}` } : {};
    if (body) headers["Content-Type"] = "application/json";
    const method = body ? "POST" : "GET";
    const answer = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
    const found = await answer.json();
    if (answer.ok) return found;
    const wrong = new Error(found.error ?? `${answer.status}`);
    wrong.status = answer.status;
    throw wrong;
  };

  // Texts are whatever their documents hold: they become text, never markup.
  const node = (name, text, of) => {
    const made = document.createElement(name);
    made.textContent = text;
    Object.assign(made, of);
    return made;
  };

  // What a search by a graph asks that looks at all documents; none: there is no graph.
  let all = null;
  const ef = () => {
    const step = Number(get("ef").value);
    return step === 0 ? all : 2 ** (step + 2);
  };
  const say = () => {
    get("k-text").textContent = get("k").value;
    get("ef-text").textContent = ef() === all ? "all" : ef();
  };

  const show = (found) => {
    const items = found.hits.map(({ rank, score, _id, title, text }) => {
      const item = document.createElement("li");
      if (title) item.append(node("h2", title, { dir: "auto" }));
      const line = node("p", "", { className: "found" });
      line.append(node("span", `${rank}`), node("span", score.toFixed(4)));
      line.append(node("span", _id, { className: "id", dir: "auto" }));
      item.append(line, node("p", text, { className: "text", dir: "auto" }));
      return item;
    });
    hits.replaceChildren(...items);
    const count = items.length === 1 ? "1 answer" : `${items.length} answers`;
    status.textContent = `${count} in ${Math.round(1000 * found.seconds)} ms`;
  };

  const fail = (wrong) => {
    status.textContent = "";
    if (wrong.status === 401) {
      access.hidden = false;
      get("token").focus();
    }
    error.textContent = wrong.status ? wrong.message : "The server does not answer.";
  };

  const search = async () => {
    const query = get("query").value;
    if (!query.trim()) return;
    const own = ++asked;
    error.textContent = "";
    status.textContent = "Searching …";
    const body = { query, k: Number(get("k").value) };
    if (all) body.ef = ef();
    try {
      const found = await send("/search", body);
      if (own === asked) show(found);
    } catch (wrong) {
      if (own !== asked) return;
      hits.replaceChildren();
      fail(wrong);
    }
  };

  const begin = async () => {
    error.textContent = "";
    try {
      const info = await send("/info");
      access.hidden = true;
      document.title = `${info.model_id} – samtone serve`;
      const documents = info.documents?.toLocaleString("en") ?? "no";
      const { dim, similarity } = info.model_type.embedding;
      get("summary").textContent =
        `${info.model_id}: ${documents} documents, ${dim} dimensions, by ${similarity}`;
      ask.hidden = info.documents === null;
      if (ask.hidden) {
        status.textContent = "Nothing to search: start the server with --data.";
        return;
      }
      get("of-ef").hidden = !info.has_graph;
      if (info.has_graph) all = Math.max(1, info.documents);
      if (info.has_graph && info.ef) {
        get("ef").value = Math.max(1, Math.round(Math.log2(info.ef)) - 2);
      }
      say();
      get("query").focus();
    } catch (wrong) {
      fail(wrong);
    }
  };

  ask.addEventListener("submit", (event) => {
    event.preventDefault();
    search();
  });
  access.addEventListener("submit", (event) => {
    event.preventDefault();
    token = get("token").value.trim();
    begin();
  });
  for (const id of ["k", "ef"]) {
    get(id).addEventListener("input", say);
    get(id).addEventListener("change", () => hits.childElementCount && search());
  }
  say();
  begin();
})();
