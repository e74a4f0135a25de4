import { render } from "preact";
import { App } from "./app";
import { connect } from "./events";

render(<App />, document.getElementById("app")!);
void connect();
