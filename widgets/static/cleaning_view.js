import { notices, view } from "./view.js";
import { cleaningPanel } from "./cleaning.js";

export default { render: view((snapshot, page) => [notices(snapshot, page), cleaningPanel(snapshot, page)]) };
