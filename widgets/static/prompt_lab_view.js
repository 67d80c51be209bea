import { notices, view } from "./view.js";
import { labPanel } from "./prompt_lab.js";

export default { render: view((snapshot, page) => [notices(snapshot, page), labPanel(snapshot.lab, page)]) };
