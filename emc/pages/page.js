const { charts, sources } = JSON.parse(document.getElementById("data").textContent);
const print = matchMedia("print");
const dark = matchMedia("(prefers-color-scheme: dark)");
const tables = new Map();

const objects = ([names, rows]) => rows.map((row) => Object.fromEntries(names.map((name, i) => [name, row[i]])));

const datasets = (source) =>
  Object.fromEntries(Object.entries(sources[source].tables).map(([name, table]) => [name, objects(table)]));

// A layer of no rows would leave its axes without an extent.
const told = (spec, named) => ({
  ...spec,
  ...(spec.layer && { layer: spec.layer.filter(({ data }) => !data?.name || named[data.name].length).map((each) => told(each, named)) }),
  ...(spec.vconcat && { vconcat: spec.vconcat.map((each) => told(each, named)) }),
});

async function draw(figure) {
  if (figure.dataset.drawn) return;
  figure.dataset.drawn = "drawing";
  const { kind, source } = figure.dataset;
  const named = datasets(source);
  const params = charts[kind].params.map(({ name }) => ({ name, value: sources[source].ticks[name] ?? [] }));
  const spec = { ...told(charts[kind], named), datasets: named, params };
  await vegaEmbed(figure.querySelector(".chart"), spec, { renderer: "svg", actions: false, logLevel: 1 });
  figure.dataset.drawn = "yes";
}

// Of DataTables' two kinds of cells only those of plain data take text that is not HTML.
function list(place) {
  if (place.querySelector("table")) return;
  const table = place.appendChild(document.createElement("table"));
  table.className = "compact stripe";
  table.appendChild(document.createElement("caption")).textContent = place.querySelector("summary").textContent;
  const [names, rows] = sources[place.dataset.source].tables[place.dataset.table];
  const columns = names.map((title) => ({ title, render: DataTable.render.text() }));
  tables.set(table, new DataTable(table, { data: rows, columns, order: [], pageLength: 25, ...common }));
}

const common = {
  autoWidth: false,
  layout: { topStart: "search", topEnd: "info", bottomStart: "pageLength", bottomEnd: "paging" },
  lengthMenu: [10, 25, 50, 100, { label: "all", value: -1 }],
  language: { search: "Search", lengthMenu: "_MENU_ rows a page", emptyTable: "nothing" },
};

function sortable(table) {
  const columnControl = [{ target: 1, content: ["search"] }];
  const made = new DataTable(table, { ...common, columnControl, order: [], pageLength: 50 });
  table.querySelectorAll("thead input, thead select").forEach((control) => {
    const what = control.matches("input") ? "Filter" : "How to filter";
    control.setAttribute("aria-label", `${what} ${made.column(control.closest("th, td").cellIndex).title()}`);
  });
  tables.set(table, made);
}

async function open(row, button) {
  if (row.child.isShown()) return;
  const content = document.getElementById(button.dataset.detail).content.cloneNode(true);
  const holder = document.createElement("div");
  holder.append(content);
  row.child(holder, "opened").show();
  button.setAttribute("aria-expanded", "true");
  holder.querySelectorAll("details.listing").forEach((place) => place.addEventListener("toggle", () => list(place)));
  for (const figure of holder.querySelectorAll("figure")) await draw(figure);
}

function close(row, button) {
  row.child.remove();
  button.setAttribute("aria-expanded", "false");
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button.open");
  if (!button) return;
  const row = tables.get(button.closest("table.dataTable")).row(button.closest("tr"));
  if (row.child.isShown()) close(row, button);
  else open(row, button);
});

async function each(table, act) {
  for (const node of table.rows({ page: "current" }).nodes().toArray())
    await act(table.row(node), node.querySelector("button.open"));
}

document.querySelectorAll(".controls button").forEach((control) =>
  control.addEventListener("click", () =>
    each(tables.get(document.getElementById(control.dataset.table)), control.classList.contains("all") ? open : close)
  )
);

// On paper every row has its place, in the light colours, and columns are other ones. Browsers count the pages once
// beforeprint has been told, when the media query does not match yet: whichever comes first tells.
const lengths = new Map();
let announced = false;
function adapt() {
  const paper = announced || print.matches;
  document.documentElement.classList.toggle("dark", dark.matches && !paper);
  if (paper && !lengths.size)
    for (const made of tables.values()) {
      lengths.set(made, made.page.len());
      swap(made, true);
      made.page.len(-1).draw(false);
    }
  else if (!paper) {
    for (const [made, length] of lengths) {
      swap(made, false);
      made.page.len(length).draw(false);
    }
    lengths.clear();
  }
}

function swap(made, paper) {
  made.columns(".screen").visible(!paper, false);
  made.columns(".paper").visible(paper, false);
}

function announce(printing) {
  announced = printing;
  adapt();
}

document.querySelectorAll("table.sortable").forEach(sortable);
document.querySelectorAll("table[data-opened]").forEach((table) => each(tables.get(table), open));
dark.addEventListener("change", adapt);
print.addEventListener("change", adapt);
addEventListener("beforeprint", () => announce(true));
addEventListener("afterprint", () => announce(false));
for (const made of tables.values()) swap(made, false);
adapt();
const seen = new IntersectionObserver((entries) => entries.filter((e) => e.isIntersecting).forEach((e) => draw(e.target)));
document.querySelectorAll("main > section > figure").forEach((figure) => seen.observe(figure));
addEventListener("beforeprint", () => document.querySelectorAll("main > section > figure").forEach(draw));
document.documentElement.dataset.ready = "yes";
