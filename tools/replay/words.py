"""The words of WhatsApp's exports in the languages it speaks: halves of the day, what is left out, what was deleted.

Only tables, and `fold`, which brings a word as it stands in a file to the form the tables have. Where the shape of a line tells enough
(an attachment's file name, the mark U+200E), no word is asked, so a language that is missing here costs little.
"""

from __future__ import annotations

import unicodedata

SPACES = " \t\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
MARKS = "\u061c\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff"
_DROPPED = frozenset(SPACES + MARKS + ".,،、'’`\u200c\u200d״\u05f4\"")


def fold(word: str) -> str:
    """A word without case, spaces, dots, quotation marks and direction marks: ``a.\\u00a0m.`` is ``am``."""
    normal = unicodedata.normalize("NFKC", word).casefold()
    return "".join(c for c in normal if c not in _DROPPED)


def fold_words(text: str) -> str:
    """The words of a text, folded, each with a space before it."""
    return "".join(f" {fold(word)}" for word in text.split())


def has_stem(text: str, stems: tuple[str, ...]) -> bool:
    """Whether a word of the text begins with one of the stems."""
    words = fold_words(text)
    return any(stem in words for stem in stems)


def _entries(table: str) -> list[str]:
    """The entries of a table: they are separated by ``|`` or the end of a line."""
    return table.strip().replace("\n", "|").split("|")


def _stems(table: str) -> tuple[str, ...]:
    """For `has_stem`. In scripts that write articles or whole sentences as one word (from Hebrew on), a stem may begin inside a word."""
    stems = map(fold_words, _entries(table))
    return tuple(dict.fromkeys(stem if stem[1:2] < "\u0590" else stem[1:] for stem in stems))


def _prefixes(table: str) -> tuple[str, ...]:
    return tuple(map(fold, _entries(table)))


def _folded(table: str) -> frozenset[str]:
    return frozenset(map(fold, _entries(table)))


# First and second half of the day (CLDR's AM and PM markers, and the finer day periods that Chinese uses on iOS).
AM = _folded(
    """
    AM|a. m.|上午|凌晨|清晨|早上|早晨|午前|오전|ص|صباحًا|صباحا|ق.ظ.|قبل\u200cازظهر|قبل از ظهر|قبل دوپہر|पूर्वाह्न|म.पू.|পূর্বাহ্ণ
    முற்பகல்|ਪੂ.ਦੁ.|પૂર્વાહ્ન|ก่อนเที่ยง|SA|ÖÖ|π.μ.|לפנה״צ|לפני הצהריים|de.|ap.|fm|f.m.|e paradites|paradite|PG|пр.об.|преди обяд|дп
    прије подне|prije podne|dop.|dopoledne|dopoldne|a.m|ДП|vorm.|Uhr vormittags|öö|ኤኤም|AH
    """
)
PM = _folded(
    """
    PM|p. m.|下午|中午|傍晚|晚上|午後|오후|م|مساءً|مساء|ب.ظ.|بعدازظهر|بعد از ظهر|بعد دوپہر|अपराह्न|म.उ.|অপরাহ্ণ|பிற்பகல்|ਬਾ.ਦੁ.
    અપરાહ્ન|หลังเที่ยง|CH|ÖS|μ.μ.|אחה״צ|אחרי הצהריים|du.|ip.|em|e.m.|e pasdites|pasdite|PTG|сл.об.|след обяд|пп|после подне
    poslije podne|odp.|odpoledne|popoldne|p.m|ПП|nachm.|Uhr nachmittags|ös|ፒኤም|EH
    """
)
# What may stand between date and time, or after them, and says nothing.
FILLERS = frozenset({""}) | _folded(
    """
    um|at|à|a|as|às|a las|a la|alle|alle ore|ore|ora|om|kl|kl.|klo|o|u|ob|в|о|у|та|την|στις|la|saat|pukul|jam|lúc|den|dne|le|el
    den|г.|г|р.|р|ч.|ч|год|h|hs|hrs|uhr|uur|น.|เวลา|בשעה|ב|في|ساعت|في الساعة|बजे|kell|plkst.|val.|t.|nap|god.|klukkan|min|s|분|초|分
    秒
    """
)

# In ``<…>`` as the whole text (Android), or after U+200E (iOS). Stems, folded: several forms of each language are about.
OMITTED = _stems(
    """
    omitted|weggelassen|ausgelassen|ausgeschlossen|omitid|omis|absente|absent|manquant|omess|esclus|ocult|não revelad|nao revelad
    weggelaten|пропущен|опущен|отсутствует|исключ|без медиа|вилучен|dahil edilmedi|pominięt|utelämn|uteslut|udeladt|utelad|utelatt
    jätetty pois|jätettiin pois|vynechán|vynecha|izostavljen|izpuščen|kihagy|hiányz|omise|παραλείφθηκ|省略|含まれていません|なし
    생략|제외|忽略|略過|已略|تم استبعاد|محذوف|تم حذف|غير مدرج|حذف شده|حذف شد|הושמט|לא נכלל|छोड़|के बिना|বাদ|শামিল নয়|dihilangkan
    tidak disertakan|disingkirkan|diabaikan|bị bỏ qua|bỏ qua|ละเว้น|ข้าม|ไม่ได้|தவிர்க்க|నిలిపి|വിട്ടു|ಬಿಟ್ಟು|છોડી|वगळ|ਛੱਡ|wegelaat
    imeachwa|välja jäetud|praleist|izlaist|bez multimediálnych
    """
)
MEDIA = _stems(
    """
    media|medien|multimedia|médias|mídia|multimédia|medya|медиа|медіа|медия|وسائط|رسانه|מדיה|メディア|미디어|媒体|媒體|影音|多媒體
    मीडिया|मीडिआ|মিডিয়া|মিডিয়া|மீடியா|మీడియా|മീഡിയ|ಮೀಡಿಯಾ|મીડિયા|ਮੀਡੀਆ|πολυμέσα|πολυμέσων|สื่อ|phương tiện|tệp|mediafil|mediefil
    médiafájl|médiá|médií
    """
)
# What is left out: the nouns of iOS, needed only where the mark U+200E got lost.
NOUNS = _prefixes(
    """
    image|photo|video|audio|sticker|gif|document|contact card|voice message|bild|foto|kontaktkarte|dokument|audiodatei
    sprachnachricht|imagen|vídeo|documento|tarjeta de contacto|vidéo|fiche contact|carte de contact|immagine|scheda contatto|imagem
    figurinha|cartão de contato|afbeelding|contactkaart|изображение|видео|аудио|стикер|документ|görüntü|çıkartma|belge|ses|obraz
    grafik|naklejk|plik|صورة|فيديو|الصوت|ملصق|المستند|צורף|תמונה|וידאו|סרטון|画像|動画|音声|ビデオ|이미지|사진|동영상|图片|圖片|影片
    视频|音訊|gambar|stiker|hình ảnh|bilden|billede|kuva
    """
)
# ``NAME.ext (…)`` of Android, where the name is not one that WhatsApp gives.
ATTACHED = _folded(
    """
    file attached|Datei angehängt|archivo adjunto|archivo adjuntado|fichier joint|fichier joints|file allegato|arquivo anexado
    ficheiro anexado|bestand bijgevoegd|файл добавлен|файл прикреплен|файл прикреплён|файл додано|dosya ekli|dosya eklendi
    załączono plik|plik dołączony|plik załączony|الملف مرفق|ملف مرفق|הקובץ צורף|קובץ מצורף|फ़ाइल संलग्न|फ़ाइल अटैच की गई
    file terlampir|berkas terlampir|ファイル添付済み|添付ファイル|ファイルを添付|파일 첨부|파일 첨부됨|첨부 파일|文件附件|附件檔案
    檔案已附加|文件已附加|tệp đính kèm|đính kèm tệp|bifogad fil|fil bifogad|vedhæftet fil|fil vedhæftet|fil vedlagt
    tiedosto liitetty|soubor byl přiložen|přiložený soubor|fájl csatolva|csatolt fájl|fișier atașat|επισυνάφθηκε αρχείο
    συνημμένο αρχείο|แนบไฟล์|ไฟล์แนบ|фајл приложен|priložena datoteka|fail dilampirkan|فایل پیوست شد|پیوست شد|ফাইল সংযুক্ত
    கோப்பு இணைக்கப்பட்டது|lêer aangeheg
    """
)
DELETED = _folded(
    """
    This message was deleted|You deleted this message|This message was deleted for everyone|Diese Nachricht wurde gelöscht
    Du hast diese Nachricht gelöscht|Sie haben diese Nachricht gelöscht|Se eliminó este mensaje|Eliminaste este mensaje
    Este mensaje fue eliminado|Has eliminado este mensaje|Este mensaje se eliminó|Este mensaje ha sido eliminado
    Ce message a été supprimé|Vous avez supprimé ce message|Mensagem apagada|Você apagou esta mensagem|Esta mensagem foi apagada
    Apagou esta mensagem|Eliminou esta mensagem|Esta mensagem foi eliminada|Questo messaggio è stato eliminato
    Hai eliminato questo messaggio|Dit bericht is verwijderd|U hebt dit bericht verwijderd|Je hebt dit bericht verwijderd
    U heeft dit bericht verwijderd|Данное сообщение удалено|Вы удалили данное сообщение|Это сообщение удалено
    Вы удалили это сообщение|Сообщение удалено|Це повідомлення видалено|Ви видалили це повідомлення|Bu mesaj silindi
    Bu mesajı sildiniz|Ta wiadomość została usunięta|Usunięto tę wiadomość|Wiadomość została usunięta|تم حذف هذه الرسالة
    حذفت هذه الرسالة|لقد حذفت هذه الرسالة|قمت بحذف هذه الرسالة|הודעה זו נמחקה|מחקת הודעה זו|ההודעה נמחקה|यह संदेश मिटाया गया
    यह मैसेज मिटा दिया गया|यह मैसेज डिलीट किया गया|आपने यह मैसेज मिटाया|आपने इस संदेश को मिटाया|Pesan ini telah dihapus
    Anda telah menghapus pesan ini|Anda menghapus pesan ini|Pesan ini dihapus|このメッセージは削除されました
    あなたはこのメッセージを削除しました|メッセージは削除されました|삭제된 메시지입니다|메시지를 삭제했습니다
    이 메시지는 삭제되었습니다|此消息已被删除|此消息已删除|您删除了这条消息|你删除了这条消息|您已删除此消息|此訊息已刪除
    此訊息已被刪除|您已刪除此訊息|你已刪除此訊息|你已收回此訊息|訊息已收回|Det här meddelandet togs bort
    Det här meddelandet har raderats|Du tog bort det här meddelandet|Du raderade detta meddelande|Denne besked blev slettet
    Du slettede denne besked|Denne meldingen ble slettet|Du slettet denne meldingen|Tämä viesti poistettiin|Poistit tämän viestin
    Tato zpráva byla smazána|Tuto zprávu jste smazali|Ezt az üzenetet törölték|Acest mesaj a fost șters|Ați șters acest mesaj
    Αυτό το μήνυμα διαγράφηκε|Διαγράψατε αυτό το μήνυμα|Tin nhắn này đã bị xóa|Bạn đã xóa tin nhắn này|ข้อความนี้ถูกลบแล้ว
    คุณลบข้อความนี้แล้ว|Mesej ini telah dipadam|این پیام حذف شد|این پیام حذف شده است|شما این پیام را حذف کردید
    এই মেসেজটি মুছে ফেলা হয়েছে
    """
)
DELETED_BY_ADMIN = _stems(
    """
    This message was deleted by admin|Diese Nachricht wurde vom Admin|Ce message a été supprimé par l'admin
    Este mensaje lo eliminó el admin|El admin. eliminó este mensaje|Mensagem apagada pelo admin
    Questo messaggio è stato eliminato dall'amministratore|Dit bericht is verwijderd door
    """
)
# The notice that opens a chat, for files in which the mark U+200E got lost: one of these and the name of the application.
ENCRYPTED = _stems(
    """
    end-to-end|Ende-zu-Ende|extremo a extremo|bout en bout|ponta a ponta|ponto a ponto|сквозн|наскрізн|uçtan uca|end til ende
    päästä päähän|تامة بين الطرفين|تمامًا بين الطرفين|מקצה לקצה|एंड-टू-एंड|ujung ke ujung|エンドツーエンド|종단간|端到端|端對端
    đầu cuối|từ đầu đến cuối
    """
)
