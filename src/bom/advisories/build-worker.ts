/** The inside of the thread that builds an index of advisories. */
import { answerThreadTask } from "../../host/index.ts";
import { type BuildNews, type BuildPlan, buildIndex } from "./build-index.ts";

/** What it tells before it answers with an ImportReport. */
export type FromBuild = BuildNews;

answerThreadTask((data, tell) => buildIndex(data as BuildPlan, tell));
