import { notices, view } from "./view.js";
import { poolPanel } from "./pool.js";

export default { render: view((snapshot, page) => [notices(snapshot, page), poolPanel(snapshot.pool)]) };
