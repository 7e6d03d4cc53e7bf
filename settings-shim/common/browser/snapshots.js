// The button "Snapshot" of the engines' editors: take one, see the last ones, go back to one. Runs in the browser, before the
// editor; what it asks goes to the shim (../snapshots.js). Each editor says how it looks and what it calls things.
// Invariant: names and what the manager says get into the page as text, never as markup.
'use strict';
(function () {
  const AWAY = 'Openflow could not be asked just now. Try again in a moment.';
  const SAYS = { 0: AWAY, 401: 'Your sign-in has ended. Reload this page to sign in again.', 502: AWAY, 503: AWAY, 504: AWAY };
  const POLL_MS = 1000;
  const ASK_TIMEOUT_MS = 70_000; // longer than the shim waits for the manager
  const POLL_TIMEOUT_MS = 10_000;
  const GIVE_UP_MS = 10 * 60_000; // installing modules takes minutes
  const CSS = `
    #openflow-snapshot-button:focus-visible, .openflow-snapshots :focus-visible { outline: 2px solid var(--openflow-focus, #3b82f6); outline-offset: 1px; }
    .openflow-snapshots { position: absolute; width: 380px; max-height: 75vh; overflow-y: auto; box-sizing: border-box; padding: 14px; text-align: left; font-size: 14px; line-height: 1.4; color: var(--openflow-text); background: var(--openflow-background); border: 1px solid var(--openflow-border); border-radius: 6px; box-shadow: 0 4px 16px rgba(0, 0, 0, .25); }
    .openflow-snapshots h3 { margin: 0 0 8px; font-size: 15px; line-height: 1.4; font-weight: 600; }
    .openflow-snapshots h3:not(:first-child) { margin-top: 14px; }
    .openflow-snapshots form { display: flex; gap: 6px; margin: 0; }
    .openflow-snapshots form input { flex: 1; min-width: 0; margin: 0; }
    .openflow-snapshots p { margin: 8px 0 0; }
    .openflow-snapshots ul { margin: 0; padding: 0; list-style: none; }
    .openflow-snapshots li { display: flex; align-items: center; gap: 8px; padding: 7px 0; border-top: 1px solid var(--openflow-border); }
    .openflow-snapshots li > div { flex: 1; min-width: 0; overflow-wrap: anywhere; }
    .openflow-snapshots small, .openflow-note { display: block; font-size: 12px; color: var(--openflow-muted); }
    .openflow-snapshots .openflow-warning, .openflow-dialog .openflow-warning { border-left: 3px solid #d97706; padding-left: 8px; }
    .openflow-snapshots .openflow-error { border-left: 3px solid #b91c1c; padding-left: 8px; }
    #openflow-snapshot-take[aria-disabled] { opacity: .6; cursor: progress; }
    .openflow-dialog p { overflow-wrap: anywhere; }`;

  const element = (tag, attributes = {}, ...children) => {
    const it = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) it.setAttribute(name, value);
    it.append(...children); // texts become text nodes
    return it;
  };
  const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

  /** Not by a style element: an editor's content policy may forbid those. */
  function addStyles(css) {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(css);
    document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
  }

  /** What the shim answers; throws an Error with `status` (0 without an answer) and a message for a person. */
  async function ask(method, path, body, timeoutMs = ASK_TIMEOUT_MS) {
    const headers = { accept: 'application/json', ...(body && { 'content-type': 'application/json' }) };
    const options = { method, headers, body: body && JSON.stringify(body), cache: 'no-store', signal: AbortSignal.timeout(timeoutMs) };
    let status = 0;
    let answer = null;
    try {
      const response = await fetch(`/openflow/${path}`, options);
      status = response.status;
      answer = await response.json();
    } catch { /* no answer, or a page: the status tells */ }
    if (status >= 200 && status < 300 && answer) return answer;
    const detail = typeof answer?.detail === 'string' && answer.detail;
    throw Object.assign(new Error(detail || SAYS[status] || `Openflow answered ${status}. Try again in a moment.`), { status });
  }

  function age(time) {
    const minutes = Math.floor((Date.now() - new Date(time)) / 60_000);
    const [count, unit] = minutes < 60 ? [minutes, 'minute'] : minutes < 48 * 60 ? [Math.floor(minutes / 60), 'hour'] : [Math.floor(minutes / 1440), 'day'];
    return count < 1 ? 'just now' : `${count} ${unit}${count === 1 ? '' : 's'} ago`;
  }

  /**
   * @param {object} editor
   *   `words`: {title, automatic, none, unsavedNow, unsavedLost, replaces} sentences, and `steps`: {state of a restore: what is said}
   *   `buttonClass`, `smallButtonClass`: of the editor's own buttons; `icon()`, `spinner()`: elements, optional; `itemTag`
   *   `isDirty()`: whether there are edits that a snapshot would not have
   *   `say(text)`: a message that goes by itself
   *   `dialog(label, content, buttons, type)` → {close()}: modal; `buttons` [{text, id, primary, click}] close it, Escape
   *   presses the first; `type` 'warning', 'error' or undefined
   *   `reload()`: loads the editor anew and asks nobody about unsaved edits
   * @returns {{item: HTMLElement, show: (open: boolean) => void}} `item` holds the button and, below it, the panel
   */
  function createSnapshots(editor) {
    const kinds = { manual: 'Snapshot', auto: editor.words.automatic, 'before-restore': 'Before a rollback' };
    const kindOf = (snapshot) => kinds[snapshot.kind] ?? 'Snapshot';
    const titleOf = (snapshot) => snapshot.name || kindOf(snapshot);
    const stepOf = (state) => editor.words.steps[state] ?? editor.words.steps.preparing;

    function describe(snapshot) {
      const nodes = Number.isInteger(snapshot.nodes) && `${snapshot.nodes} node${snapshot.nodes === 1 ? '' : 's'}`;
      return [snapshot.name && snapshot.kind !== 'manual' && kindOf(snapshot), snapshot.author, age(snapshot.createdAt), nodes].filter(Boolean).join(' · ');
    }

    const fail = (title, message) => editor.dialog(title,
      element('div', {}, element('p', {}, element('strong', {}, title)), element('p', {}, message)), [{ text: 'Close', primary: true }], 'error');

    function confirmRollback(snapshot) {
      const content = element('div', {},
        element('p', {}, element('strong', {}, `Roll back to “${titleOf(snapshot)}”?`), element('span', { class: 'openflow-note' }, describe(snapshot))),
        element('p', {}, editor.words.replaces));
      if (editor.isDirty()) content.append(element('p', { class: 'openflow-warning' }, editor.words.unsavedLost));
      editor.dialog('Roll back', content, [
        { text: 'Cancel', id: 'openflow-rollback-cancel', click: () => document.getElementById('openflow-snapshot-button').focus() },
        { text: 'Roll back', id: 'openflow-rollback-confirm', primary: true, click: () => rollBack(snapshot) },
      ], 'warning');
    }

    // A second click on the way to the dialog's end would ask twice.
    let isRollingBack = false;
    async function rollBack(snapshot) {
      if (isRollingBack) return;
      isRollingBack = true;
      const step = element('span', {}, stepOf('preparing'));
      const progress = editor.dialog('Rolling back', element('div', {},
        element('p', {}, element('strong', {}, `Rolling back to “${titleOf(snapshot)}”`)),
        element('p', { role: 'status', id: 'openflow-rollback-progress' }, ...(editor.spinner ? [editor.spinner(), ' '] : []), step)), []);
      try {
        const { id } = await ask('POST', `snapshots/${encodeURIComponent(snapshot.id)}/restore`);
        await follow(id, (state) => { step.textContent = stepOf(state); });
        editor.reload();
      } catch (error) {
        isRollingBack = false;
        progress.close();
        if (error.status === 0) fail('The connection was lost', 'Nobody knows yet whether the rollback happens. Reload this page to see what is there now.');
        else fail(error.title ?? 'The rollback did not happen', error.message);
      }
    }

    function row(snapshot, close) {
      const back = element('button', { type: 'button', class: editor.smallButtonClass, 'aria-label': `Roll back to ${titleOf(snapshot)}, ${describe(snapshot)}` }, 'Roll back');
      back.addEventListener('click', () => { close(); confirmRollback(snapshot); });
      const about = element('small', { title: new Date(snapshot.createdAt).toLocaleString() }, describe(snapshot));
      return element('li', { 'data-snapshot': snapshot.id }, element('div', {}, titleOf(snapshot), about), back);
    }

    /** The panel below the button. Filled anew each time that it opens. */
    function createPanel(close) {
      const name = element('input', { type: 'text', id: 'openflow-snapshot-name', placeholder: 'Name (optional)', 'aria-label': 'Name of the snapshot, optional', maxlength: '100', autocomplete: 'off' });
      const take = element('button', { type: 'submit', id: 'openflow-snapshot-take', class: editor.buttonClass }, 'Take snapshot');
      const form = element('form', {}, name, take);
      const notice = element('div', { 'aria-live': 'polite' });
      const list = element('div', { id: 'openflow-snapshot-list', 'aria-live': 'polite' });
      const root = element('div', { class: 'openflow-snapshots', id: 'openflow-snapshot-panel', role: 'dialog', 'aria-label': 'Snapshots', hidden: '' },
        element('h3', {}, 'Take a snapshot'), form, notice, element('h3', {}, 'Roll back'), list);
      const tell = (text, kind = 'error') => notice.replaceChildren(...(text ? [element('p', { class: `openflow-${kind}` }, text)] : []));

      async function load() {
        if (!list.hasChildNodes()) list.replaceChildren(element('p', {}, 'Loading…'));
        try {
          const { items } = await ask('GET', 'snapshots');
          list.replaceChildren(items.length > 0 ? element('ul', {}, ...items.map((it) => row(it, close))) : element('p', {}, editor.words.none));
        } catch (error) {
          const again = element('button', { type: 'button', class: editor.smallButtonClass }, 'Try again');
          again.addEventListener('click', () => { name.focus(); load(); });
          list.replaceChildren(element('p', { class: 'openflow-error' }, error.message), element('p', {}, again));
        }
      }

      form.addEventListener('submit', async (event) => {
        event.preventDefault();
        if (take.hasAttribute('aria-disabled')) return;
        take.setAttribute('aria-disabled', 'true'); // a disabled button would lose the focus
        tell('');
        try {
          const text = name.value.trim();
          const snapshot = await ask('POST', 'snapshots', text ? { name: text } : {});
          name.value = '';
          editor.say(`Snapshot taken: ${titleOf(snapshot)}`);
          await load();
        } catch (error) {
          tell(error.message);
        }
        take.removeAttribute('aria-disabled');
      });
      const refresh = () => { tell(editor.isDirty() && editor.words.unsavedNow, 'warning'); return load(); };
      return { root, refresh, focus: () => name.focus() };
    }

    const button = element('button', { type: 'button', class: 'button', id: 'openflow-snapshot-button', 'aria-haspopup': 'dialog', 'aria-expanded': 'false', title: editor.words.title },
      ...(editor.icon ? [editor.icon()] : []), element('span', {}, 'Snapshot'));
    const panel = createPanel(() => show(false));
    const item = element(editor.itemTag ?? 'div', { id: 'openflow-snapshot' }, button, panel.root);
    const isOpen = () => !panel.root.hidden;
    function show(open) {
      panel.root.hidden = !open;
      button.setAttribute('aria-expanded', String(open));
      if (!open) return;
      panel.refresh();
      panel.focus();
    }
    button.addEventListener('click', () => show(!isOpen()));
    let isTab = false;
    item.addEventListener('keydown', (event) => {
      event.stopPropagation(); // Delete and the like belong to the panel here
      isTab = event.key === 'Tab';
    });
    item.addEventListener('keyup', () => { isTab = false; });
    // In the capture phase: the workspace keeps its events to itself.
    document.addEventListener('keydown', (event) => {
      if (event.key !== 'Escape' || !isOpen()) return;
      show(false);
      button.focus();
    }, true);
    document.addEventListener('mousedown', (event) => { if (isOpen() && !item.contains(event.target)) show(false); }, true);
    // Only when somebody leaves it: an editor that is still being drawn takes the focus for itself.
    item.addEventListener('focusout', (event) => { if (isTab && event.relatedTarget && !item.contains(event.relatedTarget)) show(false); });
    return { item, show };
  }

  /** Resolves when the restore is done; throws with the reason when it is not. While the instance is away nobody answers. */
  async function follow(id, show) {
    const end = Date.now() + GIVE_UP_MS;
    while (Date.now() < end) {
      await pause(POLL_MS);
      let restore;
      try {
        restore = await ask('GET', `restores/${encodeURIComponent(id)}`, undefined, POLL_TIMEOUT_MS);
      } catch (error) {
        if (error.status >= 400 && error.status < 500 && error.status !== 429) throw error;
        show('away');
        continue;
      }
      if (restore.state === 'done') return;
      if (restore.state === 'undone') throw new Error(`${restore.detail || 'The instance did not get healthy.'} What was there before runs again.`);
      if (restore.state === 'failed') throw new Error(restore.detail || 'Openflow could not prepare it. Nothing was changed.');
      show(restore.state);
    }
    throw Object.assign(new Error('The dashboard shows how far it is. Reload this page when it is done.'), { title: 'The rollback takes longer than expected' });
  }

  addStyles(CSS);
  window.openflow = { createSnapshots, element, addStyles };
})();
