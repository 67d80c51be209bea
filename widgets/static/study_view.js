import { notices, view } from "./view.js";
import { runPanel } from "./run.js";
import { studyPanel } from "./study.js";

export default { render: view((snapshot, page) => [
  notices(snapshot, page), runPanel(snapshot.run, page), studyPanel(snapshot.study, snapshot.dashboard)]) };
