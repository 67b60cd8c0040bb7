from neurips16.clients.page.parts import Tab, answer_text

TAB = Tab("Spelling", "Spells.", (), lambda setup: answer_text("spelt"))
