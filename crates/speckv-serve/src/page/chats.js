/* Conversations, kept in the browser: nothing of them is stored by the server. */
const STORE = "speckv.chats";
const MOST_CHATS = 50;

const chats = {
  all: [] /* the newest first: {id, title, system, messages} */,
  current: null,

  load() {
    try {
      const stored = JSON.parse(localStorage.getItem(STORE) || "[]");
      this.all = stored.filter(
        chat => chat && typeof chat.id === "string" && Array.isArray(chat.messages),
      );
    } catch {
      this.all = [];
    }
    this.list();
  },

  /* Keeps the chat; the oldest go where the browser has no more room. */
  keep() {
    const chat = this.current;
    this.all = [chat, ...this.all.filter(other => other.id !== chat.id)].slice(0, MOST_CHATS);
    this.write();
  },

  write() {
    for (;;) {
      try {
        localStorage.setItem(STORE, JSON.stringify(this.all));
        break;
      } catch {
        if (this.all.length <= 1)
          break; /* storage is full or forbidden: the chat lives in the page only */
        this.all.pop();
      }
    }
    this.list();
  },

  begin() {
    const id = Date.now().toString(36) + Math.random().toString(36).slice(2, 8);
    this.current = { id, title: "", system: "", messages: [] };
    this.list();
  },

  remove(id) {
    this.all = this.all.filter(chat => chat.id !== id);
    this.write();
  },

  list() {
    $("chats-box").hidden = this.all.length === 0;
    $("chats").replaceChildren(
      ...this.all.map(chat => {
        const open = button(chat.title || "Untitled", () => openChat(chat), {
          class: "small open",
        });
        if (this.current && chat.id === this.current.id) open.setAttribute("aria-current", "true");
        const label = "Delete the chat " + (chat.title || "Untitled");
        return element(
          "li",
          {},
          open,
          button("✕", () => deleteChat(chat), { "aria-label": label }),
        );
      }),
    );
  },
};
