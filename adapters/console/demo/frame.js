// What the pages of the demo have in common: the language, the words of the menu, and a look at the service now and then.

import { $, el, orderLink } from '../dom.js';
import { t, translate, chooseLanguage, languages, language, onLanguage, addWords } from '../i18n.js';

addWords({ en: { shop: 'Shop' }, th: { shop: 'ร้านค้า' } });

// frame starts a page. words sets the texts that the HTML does not name; look asks the service.
export async function frame(words, look, every) {
  $('language').replaceChildren(...languages.map(([id, name]) => el('option', { value: id, lang: id }, name)));
  $('language').addEventListener('change', () => chooseLanguage($('language').value));
  onLanguage(() => {
    $('language').value = language();
    words();
  });
  translate();
  setInterval(() => document.hidden || look(), every);
  await look();
}

export function live(now) {
  $('live').className = now;
  $('live').textContent = t(now);
}

// storyLink leads to the order's story in the console.
export function storyLink(id) {
  const link = orderLink(id);
  link.setAttribute('href', `../${link.getAttribute('href')}`);
  return link;
}
