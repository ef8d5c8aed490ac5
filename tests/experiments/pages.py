"""Reads an HTML page for tests."""

import html.parser


class Page(html.parser.HTMLParser):
    """The images, the links and the text of a page; a line of text for each line of the page."""

    def __init__(self, text: str):
        super().__init__()
        self.images, self.links, self.text = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.links += [attributes[name] for name in ("src", "href", "srcset") if name in attributes]
        if tag == "img":
            self.images.append(attributes)

    def handle_data(self, data):
        self.text += data
