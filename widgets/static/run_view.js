import { notices, view } from "./view.js";
import { runPanel } from "./run.js";

export default { render: view((snapshot, page) => [notices(snapshot, page), runPanel(snapshot.run, page)]) };
