(() => {
  const sample = JSON.parse(document.getElementById('sample').textContent);
  const STORED = `${sample.format}/${sample.version}/${sample.sample}`;
  const LETTERS = {
    pair: {'correct': 'c', 'wrong relation': 'r', 'wrong object': 'o', 'not spatial': 'n', 'unclear': 'u'},
    caption: {'spatial': 's', 'not spatial': 'n', 'unclear': 'u'},
  };
  const MOST_UNDONE = 500;
  const MOST_BYTES = 50e6;
  const at = id => document.getElementById(id);
  const items = {pair: [], caption: []};
  for (const item of sample.items) items[item.kind].push(item);
  const keyOf = item => `${item.kind} ${item.item}`;
  const known = new Map(sample.items.map(item => [keyOf(item), item]));

  // What a reviewer did. Lives in the browser's storage; `last` is the item that is shown again after a reload.
  const fresh = () => ({reviewer: '', marks: {}, history: [], kind: items.pair.length ? 'pair' : 'caption', last: {}});
  let state = fresh();
  let kept = true;

  const element = (tag, text, attributes = {}) => {
    const made = document.createElement(tag);
    if (text) made.textContent = text;
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    return made;
  };
  const count = (number, word) => `${number.toLocaleString('en')} ${word}${number === 1 ? '' : 's'}`;
  const markOf = item => state.marks[keyOf(item)] || {verdict: '', comment: ''};
  const list = () => items[state.kind];
  const place = () => Math.max(0, list().findIndex(item => item.item === state.last[state.kind]));
  const current = () => list()[place()];
  const marked = kind => items[kind].filter(item => markOf(item).verdict).length;

  const tell = (text, wrong = false) => {
    at('told').textContent = text;
    at('told').classList.toggle('wrong', wrong);
  };

  const load = () => {
    state = fresh();
    try {
      const stored = JSON.parse(localStorage.getItem(STORED) || '{}');
      state = {...state, ...stored};
    } catch (error) {
      kept = false;
    }
    if (!items[state.kind].length) state.kind = fresh().kind;
  };

  const save = () => {
    try {
      localStorage.setItem(STORED, JSON.stringify(state));
      kept = true;
    } catch (error) {
      kept = false;
    }
    at('trouble').hidden = kept;
    at('trouble').textContent = kept ? '' :
      'This browser does not keep your marks: download them before you close or reload the page.';
  };

  const show = () => {
    const item = current();
    for (const button of document.querySelectorAll('.kinds button')) {
      const kind = button.dataset.kind;
      button.hidden = !items[kind].length;
      button.setAttribute('aria-pressed', String(kind === state.kind));
      button.querySelector('span').textContent = `${marked(kind)} of ${items[kind].length}`;
    }
    at('progress').max = list().length || 1;
    at('progress').value = marked(state.kind);
    for (const guide of document.querySelectorAll('#guide dl')) guide.hidden = guide.className !== state.kind;
    at('item').hidden = document.querySelector('.marks').hidden = !item;
    at('nothing').hidden = Boolean(item);
    if (!item) return;
    const pair = item.kind === 'pair';
    const mark = markOf(item);
    at('step').textContent = `${pair ? 'Pair' : 'Caption'} ${place() + 1} of ${list().length}`;
    at('heading').textContent = pair ? item.question : item.caption;
    at('heading').classList.toggle('long', !pair);
    at('answer').textContent = pair ? item.answer : '';
    at('described').hidden = !pair;
    at('caption').textContent = pair ? item.caption : '';
    at('caption').scrollTop = at('heading').scrollTop = 0;
    const picture = item.picture
      ? element('img', '', {...item.picture, alt: 'The picture that the pair is about'})
      : element('p', item.absent, {class: 'absent'});
    at('pictures').replaceChildren(...(pair ? [picture] : []));
    const tags = [item.source, ...(item.relations || []).map(relation => relation.replaceAll('_', ' '))];
    at('tags').replaceChildren(...tags.map(tag => element('li', tag)));
    at('comment').value = mark.comment;
    const verdicts = sample.verdicts[item.kind];
    const good = verdicts[0];
    at('verdicts').replaceChildren(...verdicts.map((verdict, number) => {
      const look = verdict === 'unclear' ? 'open-question' : verdict === good ? 'good' : 'bad';
      const letter = LETTERS[item.kind][verdict];
      const keys = `${number + 1} ${letter.toUpperCase()}`;
      const button = element('button', '', {
        type: 'button', class: look, 'aria-pressed': String(mark.verdict === verdict), 'aria-keyshortcuts': keys,
      });
      // The letter that is its key: the first of a word where there is one, as in "wrong Relation".
      const start = Math.max(0, verdict.search(new RegExp(`\\b${letter}`)));
      button.append(element('kbd', String(number + 1), {'aria-hidden': 'true'}), verdict.slice(0, start),
        element('u', verdict[start]), verdict.slice(start + 1));
      button.addEventListener('click', () => give(verdict));
      return button;
    }));
    at('previous').disabled = place() === 0;
    at('next').disabled = place() === list().length - 1;
    at('onward').disabled = marked(state.kind) === list().length;
    at('undo').disabled = !state.history.length;
  };

  const go = (item, kind = state.kind) => {
    state.kind = kind;
    if (item) state.last[kind] = item.item;
    save();
    show();
    at('heading').focus({preventScroll: true});
    const {top} = at('item').getBoundingClientRect();
    if (top < 0 || top > window.innerHeight / 2) at('item').scrollIntoView();
  };

  const unmarked = () => {
    const from = place();
    const order = [...list().slice(from + 1), ...list().slice(0, from + 1)];
    return order.find(item => !markOf(item).verdict);
  };

  const give = verdict => {
    const item = current();
    if (!item) return;
    const before = markOf(item);
    state.history.push([keyOf(item), before.verdict]);
    state.history.splice(0, state.history.length - MOST_UNDONE);
    state.marks[keyOf(item)] = {...before, verdict};
    const following = unmarked();
    go(following || list()[place() + 1] || item);
    const rest = ['pair', 'caption'].find(kind => marked(kind) < items[kind].length);
    const word = item.kind === 'pair' ? 'Pair' : 'Caption';
    const said = `${word} ${items[item.kind].indexOf(item) + 1}: ${verdict}.`;
    if (following) tell(said);
    else if (rest) tell(`${said} All ${item.kind}s are marked; ${rest}s are left.`);
    else tell(`${said} All is marked: download your verdicts.`);
  };

  const undo = () => {
    const last = state.history.pop();
    if (!last) return tell('Nothing to undo.');
    const item = known.get(last[0]);
    if (!item) return undo();
    state.marks[last[0]] = {...markOf(item), verdict: last[1]};
    go(item, item.kind);
    tell(last[1] ? `Undone: ${last[1]} again.` : 'Undone: unmarked again.');
  };

  const comment = () => {
    const item = current();
    state.marks[keyOf(item)] = {...markOf(item), comment: at('comment').value};
    save();
  };

  const download = () => {
    state.reviewer = at('reviewer').value.trim();
    at('reviewer').setAttribute('aria-invalid', String(!state.reviewer));
    if (!state.reviewer) {
      tell('Say who you are first: verdicts carry a name.', true);
      at('reviewer').focus();
      return;
    }
    const given = sample.items.filter(item => markOf(item).verdict);
    const verdicts = given.map(item => ({
      kind: item.kind, item: item.item, ...markOf(item), comment: markOf(item).comment.trim(), seen: item.seen,
    }));
    const document_ = {
      format: sample.format, version: sample.version, sample: sample.sample, reviewer: state.reviewer,
      downloaded: new Date().toISOString(), verdicts,
    };
    const name = state.reviewer.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, '-').replace(/^-|-$/g, '') || 'reviewer';
    const address = URL.createObjectURL(new Blob([JSON.stringify(document_, null, 1)], {type: 'application/json'}));
    const link = element('a', '', {href: address, download: `verdicts-${name}-${sample.sample}.json`});
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(address), 60000);
    save();
    const loose = sample.items.filter(item => !markOf(item).verdict && markOf(item).comment.trim()).length;
    tell(`${count(verdicts.length, 'verdict')} downloaded.`
      + (loose ? ` ${count(loose, 'comment')} on unmarked items left out.` : ''));
  };

  // A file taken over marks what is unmarked here and still reads as it did; nothing here is overwritten.
  const takeOver = text => {
    let file;
    try {
      file = JSON.parse(text);
    } catch (error) {
      return tell('That file is not JSON.', true);
    }
    if (!file || file.format !== sample.format || !Array.isArray(file.verdicts) || typeof file.reviewer !== 'string') {
      return tell('That file does not hold verdicts from this kind of page.', true);
    }
    if (state.reviewer && file.reviewer.trim() !== state.reviewer) {
      return tell(`That file is ${file.reviewer}’s, and this page is ${state.reviewer}’s: start over first.`, true);
    }
    let taken = 0;
    let other = 0;
    for (const entry of file.verdicts) {
      const item = entry && known.get(`${entry.kind} ${entry.item}`);
      const fits = item && item.seen === entry.seen && sample.verdicts[item.kind].includes(entry.verdict);
      if (fits && !markOf(item).verdict) {
        const said = typeof entry.comment === 'string' ? entry.comment.slice(0, sample.comment_characters) : '';
        state.marks[keyOf(item)] = {verdict: entry.verdict, comment: markOf(item).comment || said};
        taken += 1;
      } else {
        other += 1;
      }
    }
    state.reviewer = state.reviewer || file.reviewer.trim().slice(0, 100);
    at('reviewer').value = state.reviewer;
    go(unmarked());
    tell(`${count(taken, 'verdict')} taken over` + (other ? `; ${other} marked here already, or not in this sample.` : '.'));
  };

  const KEYS = {
    arrowleft: () => at('previous').click(), k: () => at('previous').click(),
    arrowright: () => at('next').click(), j: () => at('next').click(),
    g: () => at('onward').click(), z: undo, d: download,
    m: () => at('comment').focus(),
    p: () => document.querySelector('.kinds button[aria-pressed=false]:not([hidden])')?.click(),
  };

  const pressed = event => {
    const field = event.target.closest('input:not([type=checkbox]), textarea');
    if (field) {
      if (event.key === 'Escape' || (event.key === 'Enter' && field === at('reviewer'))) at('heading').focus();
      return;
    }
    const key = event.key.toLowerCase();
    const undoes = (event.ctrlKey || event.metaKey) && key === 'z' && !event.shiftKey && !event.altKey;
    if (undoes) {
      event.preventDefault();
      return undo();
    }
    if (event.ctrlKey || event.metaKey || event.altKey || !at('keys').checked || !current()) return;
    // By the place on the keyboard too: some layouts have digits on the shifted row.
    const digit = /^(?:Digit|Numpad)([1-9])$/.exec(event.code);
    const verdicts = sample.verdicts[state.kind];
    const verdict = digit ? verdicts[digit[1] - 1] : verdicts.find(word => LETTERS[state.kind][word] === key);
    const scrolls = key.startsWith('arrow') && event.target.closest('details p, .long');
    if (!verdict && (!KEYS[key] || scrolls)) return;
    event.preventDefault();
    // A key held down moves on, but marks once.
    if (verdict) return event.repeat || give(verdict);
    KEYS[key]();
  };

  at('previous').addEventListener('click', () => { tell(''); go(list()[place() - 1]); });
  at('next').addEventListener('click', () => { tell(''); go(list()[place() + 1]); });
  at('onward').addEventListener('click', () => { tell(''); go(unmarked()); });
  at('undo').addEventListener('click', undo);
  at('download').addEventListener('click', download);
  at('comment').addEventListener('input', comment);
  at('reviewer').addEventListener('input', () => {
    state.reviewer = at('reviewer').value.trim();
    at('reviewer').removeAttribute('aria-invalid');
    save();
  });
  for (const button of document.querySelectorAll('.kinds button')) {
    button.addEventListener('click', () => { tell(''); go(null, button.dataset.kind); });
  }
  at('open').addEventListener('change', async () => {
    const [file] = at('open').files;
    if (file && file.size > MOST_BYTES) tell('That file is too large to hold verdicts.', true);
    else if (file) takeOver(await file.text());
    at('open').value = '';
  });
  at('anew').addEventListener('click', () => {
    const total = marked('pair') + marked('caption');
    if (!confirm(`Forget ${count(total, 'mark')} and the name in this browser? What was not downloaded is lost.`)) return;
    state = fresh();
    at('reviewer').value = '';
    go(list()[0]);
    tell('Started over.');
  });
  document.addEventListener('keydown', pressed);
  // Another tab with this page goes on from the same marks.
  window.addEventListener('storage', event => {
    if (event.key !== STORED) return;
    const {kind, last} = state;
    load();
    Object.assign(state, {kind, last});
    at('reviewer').value = state.reviewer;
    if (document.activeElement !== at('comment')) show();
  });
  window.addEventListener('beforeunload', event => {
    if (!kept && marked('pair') + marked('caption')) event.preventDefault();
  });

  load();
  at('about').textContent = [
    ...['pair', 'caption'].filter(kind => items[kind].length).map(kind => count(items[kind].length, kind)),
    `sample ${sample.sample}`,
  ].join(' · ');
  at('reviewer').value = state.reviewer;
  at('comment').maxLength = sample.comment_characters;
  at('described').open = window.innerWidth > 704;
  if (current() && markOf(current()).verdict) state.last[state.kind] = (unmarked() || current()).item;
  save();
  show();
})();
