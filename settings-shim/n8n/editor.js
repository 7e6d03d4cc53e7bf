// Openflow in n8n's editor: the button "Snapshot", and who is signed in. n8n loads it by EXTERNAL_FRONTEND_HOOKS_URLS, after
// common/browser/snapshots.js, which is in front of it in the same file (frontend.js).
'use strict';
(function () {
  const RELOADED = 'openflow.reloaded'; // in the tab's memory: when the page was loaded once more
  const RELOAD_MS = 3000;
  const RELOAD_GAP_MS = 60_000;

  /**
   * One of n8n's hundreds of scripts that does not come leaves the page blank: Chrome drops what it is loading when an interface
   * of its machine comes or goes, as with every container beside it. Then the page is loaded once more.
   */
  function reloadIfBlank() {
    let isFailing = false;
    const failed = () => {
      if (!isFailing) setTimeout(look, RELOAD_MS);
      isFailing = true;
    };
    const look = () => {
      const isBlank = !document.getElementById('app')?.hasChildNodes();
      if (!isBlank || Date.now() - Number(sessionStorage.getItem(RELOADED)) < RELOAD_GAP_MS) return;
      sessionStorage.setItem(RELOADED, Date.now());
      location.reload();
    };
    window.addEventListener('error', ({ target }) => { if (target instanceof HTMLScriptElement && target.type === 'module') failed(); }, true);
    window.addEventListener('vite:preloadError', failed); // of a script that another one asks for
  }

  reloadIfBlank();

  const { createSnapshots, element, addStyles } = window.openflow;
  // A host of our own over the page: n8n draws its own parts anew whenever it likes. n8n's tokens first, plain colours else.
  addStyles(`
    #openflow, .openflow-dialog { --openflow-text: var(--color--text--shade-1, #222); --openflow-muted: var(--color--text--tint-1, #666); --openflow-background: var(--color--background--light-3, #fff); --openflow-border: var(--color--foreground, #ccc); font: 14px/1.4 var(--font-family, system-ui, sans-serif); color: var(--openflow-text); }
    #openflow { position: fixed; left: 50%; top: 0; z-index: 999; transform: translateX(-50%); }
    #openflow button, .openflow-dialog button { font: inherit; font-size: 13px; padding: 4px 10px; color: inherit; background: var(--openflow-background); border: 1px solid var(--openflow-border); border-radius: 4px; cursor: pointer; white-space: nowrap; }
    #openflow button:hover, .openflow-dialog button:hover { border-color: var(--color--primary, #ea4b30); }
    #openflow-snapshot-button { border-top: none !important; border-radius: 0 0 6px 6px !important; }
    #openflow { display: flex; align-items: flex-start; gap: 8px; }
    #openflow-person { max-width: 160px; padding: 4px 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; font-size: 12px; color: var(--openflow-muted); }
    #openflow input { font: inherit; padding: 4px 8px; color: inherit; background: transparent; border: 1px solid var(--openflow-border); border-radius: 4px; }
    .openflow-snapshots { top: 34px; left: 50%; transform: translateX(-50%); }
    .openflow-dialog { max-width: 440px; padding: 20px; background: var(--openflow-background); border: 1px solid var(--openflow-border); border-radius: 8px; }
    .openflow-dialog::backdrop { background: rgba(0, 0, 0, .4); }
    .openflow-dialog p { margin: 0 0 10px; }
    .openflow-dialog menu { display: flex; justify-content: flex-end; gap: 8px; margin: 16px 0 0; padding: 0; }
    .openflow-dialog button.primary { color: #fff; background: var(--color--primary, #ea4b30); border-color: transparent; }
    #openflow-toast { position: fixed; right: 16px; bottom: 16px; z-index: 9999; padding: 10px 14px; color: #fff; background: #14532d; border-radius: 6px; font: 14px/1.4 system-ui, sans-serif; }`);

  const TOAST_MS = 5000;
  const words = {
    title: 'Take a snapshot of all workflows, or roll back to one',
    automatic: 'Automatic',
    none: 'There are no snapshots yet. One is taken by itself after a workflow is published, and whenever you press the button above.',
    unsavedNow: 'You have changes that are not saved. The snapshot is without them.',
    unsavedLost: 'You have changes that are not saved: they are lost.',
    replaces: 'Its workflows and credentials replace the current ones; workflows that it does not have are archived. A snapshot of the '
      + 'present state is taken before, so that you can come back. n8n goes on running.',
    steps: {
      preparing: 'Taking a snapshot of the present state…',
      stopping: 'Writing the workflows of the snapshot…',
      away: 'Waiting for n8n…',
      starting: 'Publishing what was active…',
      undoing: 'That did not work. Putting back what was there…',
    },
  };

  let isLeaving = false;
  // Before n8n's own listener, which would ask about edits that are gone either way.
  window.addEventListener('beforeunload', (event) => { if (isLeaving) event.stopImmediatePropagation(); }, true);

  /** n8n's own word for it, out of its store; false where it cannot be told. */
  function isDirty() {
    const { $pinia } = document.getElementById('app')?.__vue_app__?.config.globalProperties ?? {};
    return $pinia?._s?.get('ui')?.stateIsDirty === true;
  }

  function dialog(label, content, buttons) {
    const box = element('dialog', { class: 'openflow-dialog', 'aria-label': label }, content);
    const close = () => { box.close(); box.remove(); };
    const list = buttons.map(({ text, id, primary, click }) => {
      const button = element('button', { type: 'button', ...(id && { id }), ...(primary && { class: 'primary' }) }, text);
      button.addEventListener('click', () => { close(); click?.(); });
      return button;
    });
    if (list.length > 0) box.append(element('menu', {}, ...list));
    box.addEventListener('keydown', (event) => event.stopPropagation()); // n8n's shortcuts would act on the canvas behind
    box.addEventListener('cancel', (event) => {
      event.preventDefault();
      list[0]?.click();
    });
    document.body.append(box);
    box.showModal();
    list[0]?.focus();
    return { close };
  }

  function say(text) {
    document.getElementById('openflow-toast')?.remove();
    const toast = element('div', { id: 'openflow-toast', role: 'status' }, text);
    document.body.append(toast);
    setTimeout(() => toast.remove(), TOAST_MS);
  }

  function reload() {
    isLeaving = true;
    location.reload();
  }

  async function start() {
    const answer = await fetch('/openflow/me', { headers: { accept: 'application/json' } }).catch(() => null);
    if (!answer?.ok) return;
    const { name, role } = await answer.json();
    if (role === 'viewer') return;
    const { item } = createSnapshots({ words, dialog, say, reload, isDirty, buttonClass: '', smallButtonClass: '' });
    // To n8n everybody is its owner; its own pages show the name in few places.
    const person = element('span', { id: 'openflow-person', title: `Signed in by Openflow as ${role}` }, name);
    document.body.append(element('div', { id: 'openflow' }, item, person));
  }

  /** Once Openflow's session is over n8n would show a sign-in form of its own, with which nobody can sign in. */
  function signInElsewhere() {
    for (const change of ['pushState', 'replaceState']) {
      const original = history[change];
      history[change] = function (state, title, url) {
        if (url && /^\/signin\b/.test(new URL(url, location).pathname)) return location.assign(url);
        return original.call(this, state, title, url);
      };
    }
  }

  signInElsewhere();

  if (document.readyState === 'loading') document.addEventListener('DOMContentLoaded', start);
  else start();
})();
