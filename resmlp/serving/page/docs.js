// The description of the API as a page, made from openapi.json alone.

import {call} from "/page/api.js";
import {element, part} from "/page/dom.js";

function table(title, rows) {
  if (!rows.length) return [];
  const made = element("table");
  for (const cells of rows) made.insertRow().append(...cells.map(words => element("td", words)));
  return [element("h3", title), made];
}

function type(schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").at(-1);
  if (schema.enum) return schema.enum.join(" or ");
  if (schema.anyOf) return schema.anyOf.map(type).join(" or ");
  if (schema.prefixItems) return `[${schema.prefixItems.map(type).join(", ")}]`;
  if (schema.type === "array") return `list of ${type(schema.items)}`;
  return schema.contentEncoding ?? (schema.format === "binary" ? "file" : schema.type ?? "");
}

function properties(schema) { return Object.entries(schema.properties ?? {}).map(([name, kind]) => [name, type(kind)]); }

function endpoint(path, method, operation, schemas) {
  const panel = element("section", "", "panel"), title = element("h2");
  title.append(element("span", method, "method"), ` ${path}`);
  const query = (operation.parameters ?? []).map(({name, required, schema}) => [
    name, `${type(schema)}${required ? ", needed" : schema.default === undefined ? "" : `, default ${schema.default}`}`,
  ]);
  const bodies = Object.entries(operation.requestBody?.content ?? {}).map(([kind, {schema}]) => [
    kind, properties(schema).map(([name, words]) => `${name} (${words})`).join(", ") || type(schema),
  ]);
  const answer = operation.responses["200"].content["application/json"].schema;
  const refusals = Object.entries(operation.responses).filter(([status]) => status !== "200");
  panel.append(title, element("p", operation.summary),
    ...table("Query", query), ...table("Body", bodies),
    ...table(`Answer: ${type(answer)}`, properties(schemas[type(answer)])),
    ...table("Refusals", refusals.map(([status, {description}]) => [status, description])));
  return panel;
}

function kinds(schemas) {
  return Object.entries(schemas).map(([name, schema]) => {
    const panel = element("section", "", "panel");
    panel.append(element("h2", name), element("p", schema.description ?? ""), ...table("Fields", properties(schema)));
    return panel;
  });
}

const {paths, components: {schemas}} = await call("/openapi.json");
const panels = Object.entries(paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => endpoint(path, method, operation, schemas)));
part("main").replaceChildren(...panels, ...kinds(schemas));
