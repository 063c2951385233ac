// What changes something: the token, adding and removing streams, start and stop.
import { ask, forget, token, unlock } from "./service.js";

const $ = (id) => document.getElementById(id);

/**
 * Wire the buttons and dialogs.
 * `page` has chosen() (the large stream's id), tell(text) for errors, render() and relisten().
 */
export function setUpChanges(page) {
  $("unlock").addEventListener("click", () => {
    if (token()) {
      forget();
      page.render();
    } else askForToken();
  });

  $("token-dialog").addEventListener("submit", async (event) => {
    event.preventDefault();
    if (await change(page, () => unlock($("token").value.trim()), $("token-wrong"))) {
      $("token-dialog").close();
      page.relisten();
      page.render();
    } else $("token-wrong").hidden = false;
  });

  $("add").addEventListener("click", () => {
    if (!token()) return askForToken();
    $("add-wrong").hidden = true;
    $("add-dialog").showModal();
  });

  $("add-dialog").addEventListener("submit", async (event) => {
    event.preventDefault();
    const stream = { id: $("add-id").value, source: $("add-source").value };
    if ($("add-destination").value) stream.destinations = [$("add-destination").value];
    if ($("add-model").value) stream.model = $("add-model").value;
    if (await change(page, () => ask("POST", "api/streams", stream), $("add-wrong"))) {
      event.target.closest("dialog").close();
      event.target.reset();
      location.hash = `#/${stream.id}`;
    }
  });

  for (const button of document.querySelectorAll("[data-close]")) {
    button.addEventListener("click", () => button.closest("dialog").close());
  }

  $("actions").addEventListener("click", async (event) => {
    const action = event.target.dataset?.action;
    if (!action || !page.chosen()) return;
    if (!token()) return askForToken();
    const id = page.chosen();
    const done = await change(page, () =>
      action === "remove" ? ask("DELETE", `api/streams/${id}`) : ask("POST", `api/streams/${id}/${action}`),
    );
    if (done && action === "remove") location.hash = "#/";
  });
}

/** Open the dialog for the token. */
export function askForToken() {
  $("token-wrong").hidden = true;
  $("token").value = "";
  $("token-dialog").showModal();
}

async function change(page, work, wrong) {
  try {
    await work();
    return true;
  } catch (error) {
    if (error.status === 401 || error.status === 403) {
      forget();
      askForToken();
    }
    if (wrong) {
      wrong.textContent = error.message;
      wrong.hidden = false;
    } else page.tell(error.message);
    return false;
  }
}
