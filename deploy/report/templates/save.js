function save(button, name, kind, text) {  // a button that gives a text as a file
  const found = document.getElementById(button);
  if (!found) return;
  found.onclick = () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text()], {type: kind}));
    link.download = name;
    link.click();
    URL.revokeObjectURL(link.href);
  };
}
save("save-recipe", "recipe.toml", "text/plain", () => document.getElementById("recipe").textContent);
save("save-report", "report.json", "application/json", () => JSON.stringify(JSON.parse(document.getElementById("report-data").textContent), null, 1));
