import { notices, view } from "./view.js";
import { rowsPanel } from "./rows.js";

export default { render: view((snapshot, page) => [notices(snapshot, page), rowsPanel(snapshot.rows)]) };
