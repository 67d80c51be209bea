import { notices, view } from "./view.js";
import { formPanel } from "./form.js";
import { runPanel } from "./run.js";

export default {
  render: view((snapshot, page) => [
    notices(snapshot, page),
    formPanel(snapshot.form, page),
    snapshot.run && runPanel(snapshot.run, page),
  ]),
};
