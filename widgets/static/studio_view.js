import { notices, view } from "./view.js";
import { studioPanel } from "./studio.js";

export default { render: view((snapshot, page) => [notices(snapshot, page), studioPanel(snapshot, page)]) };
