package io.idletune.android;

import io.idletune.IdleTune;
import io.idletune.IdleTuneException;

/** What a notification's button says of a response, or of two. */
enum Verdict {
    GOOD {
        @Override void tell(IdleTune idleTune, long promptId, String shown, String text) throws IdleTuneException {
            idleTune.accept(promptId, shown, true);
        }
    },
    EDIT {
        @Override void tell(IdleTune idleTune, long promptId, String shown, String text) throws IdleTuneException {
            idleTune.edit(promptId, shown, text, true);
        }
    },
    FIRST {
        @Override void tell(IdleTune idleTune, long promptId, String shown, String text) throws IdleTuneException {
            idleTune.chooseFirst(promptId, shown, true);
        }
    },
    SECOND {
        @Override void tell(IdleTune idleTune, long promptId, String shown, String text) throws IdleTuneException {
            idleTune.chooseSecond(promptId, shown, true);
        }
    },
    SKIP {
        @Override void tell(IdleTune idleTune, long promptId, String shown, String text) throws IdleTuneException {
            idleTune.dismiss(promptId, shown);
        }
    };

    /** Hands the answer to the runtime; the text goes with EDIT only. */
    abstract void tell(IdleTune idleTune, long promptId, String shown, String text) throws IdleTuneException;
}
