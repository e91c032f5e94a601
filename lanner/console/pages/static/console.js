// The entry of the pages' scripts. The pages work without them, except for decisions and live updates.
import { bindActions } from "./actions.js";
import { bindBrush } from "./brush.js";
import { bindFilters } from "./filters.js";
import { bindKeys } from "./keys.js";
import { bindLive } from "./live.js";
import { bindPipeline } from "./pipeline.js";
import { bindOverview } from "./overview.js";
import { bindCopying } from "./page.js";
import { bindPicks } from "./picks.js";
import { bindSearch } from "./search.js";
import { bindStory } from "./story.js";
import { localTimes } from "./times.js";
import { bindViews } from "./views.js";

localTimes(document);
bindActions();
bindBrush();
bindCopying();
bindLive();
bindKeys();
bindFilters();
bindPipeline();
bindPicks();
bindOverview();
bindSearch();
bindStory();
bindViews();
